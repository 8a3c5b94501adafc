"""From files to batches: data sets, annotation formats, reading, augmentation, molding."""
