"""``fedops init``: what is proposed for projects of several styles, and what is written."""

import tomllib
from pathlib import Path

import pytest

from fedops.core.errors import Conflict, Invalid
from fedops.scalize.bundle.bundle_files import carried_files
from fedops.scalize.discovery.scaffold import Plan, init_project, propose, write
from fedops.scalize.flow.project import Project

ROOT = Path(__file__).parents[4]
TUTORIALS = ROOT / "tests" / "fixtures" / "tutorials"

TORCH = """\
import torch
from torch import nn
LR = 0.05
class Part(nn.Module):
    def __init__(self, width): super().__init__()
class Net(nn.Module):
    def __init__(self, width, depth=2):
        super().__init__()
        self.part = Part(width)
def get_data(root, batch_size=8, seed=3): return 1, 2
def train(net, loader, epochs, criterion):
    opt = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9)
def test(net, loader): return 0.5
if __name__ == "__main__":
    net = Net(width=12)
    train(net, get_data("here"), 4, nn.NLLLoss())
"""


def _project(tmp_path: Path, text: str, name: str = "m.py") -> Path:
    (tmp_path / "My Project").mkdir(exist_ok=True)
    (tmp_path / "My Project" / name).write_text(text)
    return tmp_path / "My Project"


def _config(plan: Plan) -> dict[str, object]:
    return tomllib.loads((plan.folder / "config.toml").read_text())


def test_a_torch_project_is_read_off(tmp_path: Path) -> None:
    plan = init_project(_project(tmp_path, TORCH))
    assert plan.framework == "pytorch"
    assert {step: choice.target for step, choice in plan.steps.items()} == {
        "data": "m.get_data",
        "model": "m.Net",
        "train": "m.train",
        "evaluate": "m.test",
    }
    assert "m.py, line 6" in plan.steps["model"].reason
    config = _config(plan)
    assert config["model"] == {"_target_": "m.Net", "width": 12}
    assert config["data"] == {"seed": 3}, "the author's own seed decides which data there is"
    assert config["loss"] == {"_target_": "torch.nn.NLLLoss"}
    assert "optimizer" not in config, "the train function makes it"
    assert config["learning_rate"] == 0.05
    assert config["batch_size"] == 8


def test_what_is_written_opens_as_a_project(tmp_path: Path) -> None:
    plan = init_project(_project(tmp_path, TORCH))
    project = Project.open(plan.folder)
    assert project.app_name == "my-project-federated"
    assert project.manifest.packages == ("my_project_federated", "m")
    assert project.manifest.folders == (plan.folder, plan.project)
    assert project.manifest.workdir == plan.project
    assert project.manifest.flow.train == "m.train"
    apps = (plan.folder / "my_project_federated" / "apps.py").read_text()
    compile(apps, "apps.py", "exec")


def test_no_file_is_touched_and_nothing_overwritten(tmp_path: Path) -> None:
    folder = _project(tmp_path, TORCH)
    init_project(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["federated", "m.py"]
    assert (folder / "m.py").read_text() == TORCH
    written = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(Conflict, match="exists already"):
        init_project(folder)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == written


def test_answers_win_over_the_proposal(tmp_path: Path) -> None:
    plan = propose(_project(tmp_path, TORCH))
    answered = plan.with_answers({"model": "m.Part", "train": ""})
    assert answered.steps["model"].target == "m.Part"
    assert answered.steps["train"].target == ""
    assert answered.steps["data"] == plan.steps["data"]
    with pytest.raises(Invalid, match=r"nothing in the project is called 'm.Nett'.*'m.Net'"):
        plan.with_answers({"model": "m.Nett"})
    with pytest.raises(Invalid, match="no step 'modle'; did you mean 'model'"):
        plan.with_answers({"modle": "m.Net"})


def test_what_cannot_be_filled_is_open(tmp_path: Path) -> None:
    plan = propose(
        _project(tmp_path, "import keras\ndef build_model(n): return keras.Sequential()")
    )
    assert any("needs a value for 'n'" in problem for problem in plan.problems)
    assert any("no function was found that gives data" in problem for problem in plan.problems)
    with pytest.raises(Invalid, match="no function was found that gives data"):
        write(plan)
    assert not plan.folder.exists()


def test_a_script_that_trains_when_imported_is_warned_of(tmp_path: Path) -> None:
    text = TORCH.replace('if __name__ == "__main__":', "if True:") + "\ntrain(net, 1, 2, 3)\n"
    plan = propose(_project(tmp_path, text))
    assert any("importing 'm' runs code (line" in problem for problem in plan.problems)


@pytest.mark.parametrize("text", ["", "x = 1\n"])
def test_an_empty_project(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match="nothing to federate was found"):
        propose(_project(tmp_path, text))
    with pytest.raises(Invalid, match="there is no folder"):
        propose(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "framework", "data", "model", "train", "evaluate"),
    [
        ("one-file-torch", "pytorch", "main.get_data", "main.Net", "main.train", ""),
        ("trainer-class", "pytorch", "run.load_dataset", "network.HousePriceModel", "", ""),
        (
            "keras-two-inputs",
            "keras",
            "pipeline.prepare_data",
            "pipeline.get_model",
            "pipeline.train_model",
            "pipeline.evaluate_model",
        ),
        (
            "spam-bayes",
            "sklearn",
            "spam.load_messages",
            "spam.build_classifier",
            "spam.fit_in_batches",
            "spam.report",
        ),
        (
            "forecaster",
            "pytorch",
            "forecaster.dataset.make_loaders",
            "forecaster.network.Forecaster",
            "forecaster.engine.fit",
            "forecaster.engine.validate",
        ),
        ("config-dict", "pytorch", "experiment.get_dataloaders", "experiment.MLP", "", ""),
        (
            "dataset-class",
            "pytorch",
            "dataset.HouseDataset",
            "train.PriceRegressor",
            "train.train_one_epoch",
            "train.evaluate",
        ),
    ],
)
def test_styles(
    name: str, framework: str, data: str, model: str, train: str, evaluate: str
) -> None:
    plan = propose(TUTORIALS / name)
    assert plan.framework == framework
    assert [choice.target for choice in plan.steps.values()] == [data, model, train, evaluate]
    assert plan.problems == ()


def test_the_projects_own_settings_are_handed_over() -> None:
    settings = {"_target_": "forecaster.settings.Settings"}
    forecaster = propose(TUTORIALS / "forecaster")
    assert forecaster.steps["model"].arguments == {"settings": settings}
    args = propose(TUTORIALS / "one-file-torch").steps["train"].arguments["args"]
    assert args["_target_"] == "argparse.Namespace"
    assert (args["log_interval"], args["dry_run"]) == (5, False)


def test_a_dict_of_settings_is_handed_over_and_read() -> None:
    plan = propose(TUTORIALS / "config-dict")
    config = plan.steps["model"].arguments["config"]
    assert (config["hidden_dim"], config["dropout"]) == (16, 0.1)
    assert plan.steps["data"].arguments == {"config": config}
    why = "the project itself trains for 20: a value of CONFIG"
    assert plan.settings["num_epochs"] == (1, why), "one a round, said"
    assert plan.settings["learning_rate"] == (0.01, "a value of CONFIG")


def test_without_any_data_to_name_it_says_what_to_do(tmp_path: Path) -> None:
    text = "from torch import nn\nclass Net(nn.Module): pass\ndef main(): data = [1]\n"
    with pytest.raises(Invalid, match=r"inside a main\(\).*--step data=<module>.<name>"):
        init_project(_project(tmp_path, text))


def test_a_loop_of_the_adapter_gets_the_authors_loss_and_optimizer() -> None:
    plan = propose(TUTORIALS / "trainer-class")
    assert plan.optimizer == {"_target_": "torch.optim.AdamW"}
    assert plan.loss == {"_target_": "torch.nn.MSELoss"}
    printed_only = propose(TUTORIALS / "one-file-torch")
    assert printed_only.loss == {"_target_": "torch.nn.functional.nll_loss"}


def test_the_bundle_carries_the_code_but_no_data(tmp_path: Path) -> None:
    folder = _project(tmp_path, TORCH)
    (folder / "patients.json").write_text("[]")
    (folder / "helper.py").write_text("")
    plan = init_project(folder)
    files = carried_files(plan.folder)
    assert set(files) == {"carried/m.py", "carried/helper.py", "pyproject.toml"}
    manifest = tomllib.loads(bytes(files["pyproject.toml"]).decode())  # type: ignore[arg-type]
    table = manifest["tool"]["fedops"]
    assert (table["path"], table["workdir"]) == ([".", "carried"], "carried")


def test_an_app_with_all_its_code_inside_carries_nothing() -> None:
    assert carried_files(ROOT / "apps" / "mnist-xai") == {}


UNET = """\
import torch
from torch import nn
def double_conv(i, o): return nn.Sequential(nn.Conv2d(i, o, 3))
def up_conv(i, o): return nn.Sequential(double_conv(i, o))
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = double_conv(3, 8), up_conv(8, 1)
def load_images(): return torch.utils.data.TensorDataset(torch.ones(4, 3, 8, 8))
def train_model(model, dataloaders, optimizer, scheduler, num_epochs=5):
    model = UNet()
    return model
def reconstruction_error(unet, dataset): return 0.5
def main():
    unet = UNet()
    train_model(unet, load_images())
"""


def test_parts_of_a_model_are_no_models_and_a_training_function_makes_none(tmp_path: Path) -> None:
    plan = init_project(_project(tmp_path, UNET))
    assert [choice.target for choice in plan.steps.values()] == [
        "m.load_images",
        "m.UNet",
        "m.train_model",
        "m.reconstruction_error",
    ]
    assert plan.problems == ()


REGISTRY = """\
from torch import nn
from .net import Net
MODELS = {"small": Net}
def create_model(name: str, **kwargs): return MODELS[name](**kwargs)
"""


def test_a_registry_behind_a_reexport_gets_what_the_project_passes(tmp_path: Path) -> None:
    package = tmp_path / "src" / "shop" / "models"
    package.mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from .registry import create_model\n")
    (package / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self, width): ...\n"
    )
    (package / "registry.py").write_text(REGISTRY)
    (tmp_path / "src" / "shop" / "main.py").write_text(
        "from .models import create_model\n"
        "def load_data(name='small-set'): return 1, 2\n"
        "def main():\n    model = create_model('small', width=4)\n"
    )
    plan = init_project(tmp_path)
    assert _config(plan)["model"] == {
        "_target_": "shop.models.registry.create_model",
        "name": "small",
        "width": 4,
    }
    assert _config(plan)["data"] == {"name": "small-set"}, "what the project calls it"


def test_settings_in_a_file_are_read_by_the_projects_own_function_and_carried(
    tmp_path: Path,
) -> None:
    text = (
        "from torch import nn\n"
        "def load_config(path='conf/a.yaml'): ...\n"
        "class Net(nn.Module):\n    def __init__(self, cfg): ...\n"
        "def get_data(cfg): return 1, 2\n"
        "def main():\n    cfg = load_config(a.config)\n    Net(cfg)\n    get_data(cfg)\n"
    )
    folder = _project(tmp_path, text)
    (folder / "conf").mkdir()
    (folder / "conf" / "a.yaml").write_text("width: 3\ndb_password: hunter22\n")
    (folder / "conf" / "patients.yaml").write_text("[]\n")
    plan = init_project(folder)
    assert plan.steps["model"].arguments == {"cfg": {"_target_": "m.load_config"}}
    assert plan.steps["data"].arguments == {"cfg": {"_target_": "m.load_config"}}
    assert "goes to the server with the code: conf/a.yaml" in plan.lines()
    files = carried_files(plan.folder)
    assert set(files) == {"carried/m.py", "carried/conf/a.yaml", "pyproject.toml"}
    assert files["carried/conf/a.yaml"] == b"width: 3\ndb_password: ***\n"
    (folder / "conf" / "a.yaml").unlink()
    with pytest.raises(Invalid, match=r"carry: there is no file 'conf/a.yaml'"):
        carried_files(plan.folder)


def test_a_transformers_head_and_a_split_of_scikit_learn_are_recognised(tmp_path: Path) -> None:
    text = (
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "from sklearn.model_selection import train_test_split\n"
        "def model_init():\n"
        "    return BertForSequenceClassification(BertConfig())\n"
        "def load_news():\n    return train_test_split([1], [2])\n"
    )
    plan = propose(_project(tmp_path, text))
    assert (plan.framework, plan.steps["model"].target) == ("huggingface", "m.model_init")
    assert plan.steps["data"].target == "m.load_news"


def test_a_notebook_alone(tmp_path: Path) -> None:
    folder = _project(tmp_path, "")
    (folder / "play.ipynb").write_text("{}")
    with pytest.raises(Invalid, match=r"jupyter nbconvert --to script play\.ipynb"):
        propose(folder)
