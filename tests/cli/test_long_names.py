"""What cannot be the name of a file, or the list that a field must be, is refused with what was typed."""

import pytest

from align_lab.__main__ import main

LONG = "x" * 5000


@pytest.mark.parametrize("words", [["compare", LONG], ["status", LONG], ["compare", "--watch", LONG]])
def test_a_name_that_no_file_can_have_is_a_wrong_command(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "xxx... (" in said and len(said) < 1000


@pytest.mark.parametrize("field", ["claims", "plugins"])
def test_a_list_that_an_interpolation_makes_a_number_is_refused(field, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_study.yaml").write_text(
        f"arms: {{a: [algo=rloo], b: [algo=dpo]}}\nseeds: [0, 1]\n{field}: ${{seed}}\n"
    )
    assert main(["my_study.yaml", "dry_run=true"]) == 2
    assert field in capsys.readouterr().err
