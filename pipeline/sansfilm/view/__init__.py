"""The researcher's side: archives and volumes, opened lazily; pictures; ways out."""
