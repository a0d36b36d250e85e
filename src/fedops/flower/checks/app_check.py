"""What only a run would find of an app, for ``fedops check``: its strategy, its explanations, its bundle."""

from __future__ import annotations

from fedops.algorithms.selection.registry import make_selector
from fedops.engine.scoring.scoring_plan import require_contribution
from fedops.flower.app_package import build_bundle
from fedops.flower.strategies.strategy_check import require_suitable
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.check.check_process import Further
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.script_flow import refuse_unused
from fedops.trainer.explanations import explainer_for


class InARun(Further):
    """What the round engine and a device look at first."""

    def look_at(self, project: Project) -> None:
        """Make the strategy and the selector that the config names."""
        wanted = project.config.server.strategy
        made = make_strategy(wanted.target, wanted.kwargs, [project.app_dir])
        chosen = project.config.server.selection
        make_selector(chosen.selector, chosen.options)
        require_contribution(project.config.server.contribution)
        require_suitable(made, project.config)
        refuse_unused(project.config)

    def look_at_built(self, project: Project, adapter: ModelAdapter, split: DataSplit) -> None:
        """Open what ``[xai]`` asks for, and write nothing."""
        explainer_for(project.config, adapter, split, project.app_dir, kept=False)


class BeforeATask(InARun):
    """That, and what a task is created from."""

    def look_at(self, project: Project) -> None:
        """Make the bundle that would be sent, by Flower's own rules, such as the one for names."""
        build_bundle(project.app_dir)
        super().look_at(project)
