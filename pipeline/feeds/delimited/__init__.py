"""CSV and its kin: their encoding, their dialect, and records out of blocks of lines at the speed of Arrow."""
