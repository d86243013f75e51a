"""What stands in for standard attributes where a vendor has it in private elements."""

import pytest
import synth


@pytest.mark.parametrize(
    ("creator", "number", "stated", "expected"),
    [
        ("GEMS_PARM_01", 0, None, "MAGNITUDE"),
        ("GEMS_PARM_01", 1, None, "PHASE"),
        ("GEMS_PARM_01", 2, None, "REAL"),
        ("GEMS_PARM_01", 3, None, "IMAGINARY"),
        ("GEMS_PARM_01", 4, None, None),
        ("GEMS_PARM_01", -1, None, None),
        ("SOMEBODY", 2, None, None),
        ("GEMS_PARM_01", 2, "PHASE", "PHASE"),
    ],
)
def test_component_of_ge(tmp_path, read, creator, number, stated, expected):
    def edit(ds, _):
        ds.private_block(0x0043, creator, create=True).add_new(0x2F, "SS", number)
        if stated:
            ds.ComplexImageComponent = stated

    frame = read(synth.series(tmp_path, slices=1, modality="MR", edit=edit).paths[0])
    assert frame.axes.get("ComplexImageComponent") == expected
