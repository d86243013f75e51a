"""What is in an archive: small Parquet tables, derived from the volumes and rebuilt from them."""
