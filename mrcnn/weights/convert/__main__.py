import sys

from mrcnn.weights.convert.command import main

sys.exit(main())
