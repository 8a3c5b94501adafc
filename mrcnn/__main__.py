from mrcnn.cli import command

command.run()
