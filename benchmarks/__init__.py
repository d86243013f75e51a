"""What sansfilm costs, beside what people would use in its place; see docs/benchmarks.md."""
