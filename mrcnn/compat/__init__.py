"""What scripts of 2017-2019 call, where it is more than another name: the five old files hand it on, nobody else."""
