import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sansfilm.columns import column, table

NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)
KINDS = {
    pa.bool_(): st.booleans(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): NUMBERS.map(float),
    pa.string(): st.text(),
}


def lists_of(values):
    return st.lists(st.none() | values)


@pytest.mark.parametrize("kind", [*KINDS, pa.list_(pa.float64()), pa.list_(pa.list_(pa.string()))])
@settings(deadline=None)  # the first call imports pandas
@given(data=st.data())
def test_a_column_is_what_pyarrow_makes_of_it(kind, data):
    inside, depth = kind, 0
    while pa.types.is_list(inside):
        inside, depth = inside.value_type, depth + 1
    values = KINDS[inside]
    for _ in range(depth):
        values = lists_of(values)
    rows = data.draw(lists_of(values))
    made = column(rows, kind)
    made.validate(full=True)
    assert made.equals(pa.array(rows, kind))


@settings(deadline=None)
@given(
    st.one_of(
        lists_of(st.booleans()),
        lists_of(st.integers(0, 9)),
        lists_of(NUMBERS),
        lists_of(st.text()),
        lists_of(lists_of(NUMBERS)),
        lists_of(st.tuples(NUMBERS, NUMBERS)),
        lists_of(st.fixed_dictionaries({"unit": st.text(), "slope": NUMBERS.map(float)})),
    )
)
def test_the_kind_is_told_as_pyarrow_tells_it(rows):
    made, expected = column(rows), pa.array(rows)
    assert made.type == expected.type
    assert made.equals(expected)


def test_numbers_that_are_none_are_not_lost():
    (value,) = column([float("nan")], pa.float64()).to_pylist()
    assert value != value


def test_a_table_has_the_columns_of_its_schema():
    schema = pa.schema({"name": pa.string(), "sizes": pa.list_(pa.int64())})
    rows = [{"name": "a", "sizes": (1, 2), "more": 3}, {"name": None}]
    made = table(rows, schema)
    assert made.schema == schema
    assert made.to_pylist() == [{"name": "a", "sizes": [1, 2]}, {"name": None, "sizes": None}]
