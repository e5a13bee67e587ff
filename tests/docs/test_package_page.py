"""What an index of packages shows of README: no picture and no link that leads into the repository."""

import re
import tomllib

from tests.docs.snippets import CHECKOUT


def test_no_picture_and_no_link_of_the_long_description_leads_nowhere():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["readme"] and "readme" not in project["project"]
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert len(re.findall(r"\]\(docs/", text)) > 20
    for one in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(one["pattern"], one["replacement"], text)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == [] and "![" not in text
    assert "`ppo`, `ppo_max`" in text and "how it is decided" in text and "def loss(self, now, x):" in text
