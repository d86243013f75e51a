"""From sources to plans: discover, headers, geometry, grouping."""
