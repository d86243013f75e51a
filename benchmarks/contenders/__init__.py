"""What would be used in place of sansfilm: each file is a script of its own, FOLDER OUT."""
