"""What every other subpackage may use: names of files, locks, atomic writes, numbers, optional packages."""
