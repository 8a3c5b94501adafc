"""What goes on around the gradient steps: runs, checkpoints, schedules, devices."""
