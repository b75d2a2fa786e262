"""Option classes of curation get every value from the recipe: defaults exist in the schema only."""

from dataclasses import MISSING, fields

import pytest

from wanctl.curate.context import Limits
from wanctl.curate.engines.engine import CurationJob, RayResources
from wanctl.curate.select.balance import Balance
from wanctl.curate.select.selection_rows import SelectRules
from wanctl.curate.split.clip_rows import SplitRules
from wanctl.curate.split.shots import DetectorSettings
from wanctl.curate.split.split_parts import Splitter

OPTIONS = (
    Limits, RayResources, CurationJob, Splitter, SplitRules, DetectorSettings, SelectRules, Balance,
)  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.__name__)
def test_options_have_no_defaults_of_their_own(options):
    defaults = [
        field.name
        for field in fields(options)
        if field.default is not MISSING or field.default_factory is not MISSING
    ]
    assert defaults == []
