"""The command line: what it prints, its exit codes, Ctrl-C and resumption, and errors that a user can mend."""

import argparse
import importlib
import json
import os
import pkgutil
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import convkit
from convkit import cli, data, models
from convkit.cli import common, evaluate, predict, recipes, train, warmup
from convkit.train import load_checkpoint

QUICK = ["train", "--data", "digits", "--epochs", "2", "--batch-size", "64", "--validation", "0.5"]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """`run(*arguments)`: exit code, lines on stdout, and stderr, of a command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = cli.main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short run on the digits."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert cli.main(["train", "--epochs", "6", "--out", str(folder), "--quiet"]) == 0
    return folder


def start(*arguments, cwd):
    """A command line in a process of its own, which heeds Ctrl-C even if the tests run in the background."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "convkit", *map(str, arguments)], cwd=cwd, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=None if os.name == "nt" else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------- train
def test_train(run, tmp_path):
    code, lines, err = run(*QUICK, "--out", "runs/a", "--seed", "3")
    assert (code, err) == (0, "")
    assert lines[0] == "digits: 719 training, 718 validation, 360 test images 1x8x8"
    assert lines[1].startswith("digits-cnn: 151,306 parameters; 2 epochs, batches of 64, adam ")
    pattern = r"epoch [12]/2  loss \d\.\d{4}  accuracy 0\.\d{4}  val_loss \d\.\d{4}  val_accuracy 0\.\d{4}  \d+ images/s  lr \S+  \d+\.\d s"
    assert all(re.fullmatch(pattern, line) for line in lines[2:4])
    assert lines[-2] == "saved checkpoint, history.json, curves.png in runs/a"
    assert re.fullmatch(r"test accuracy [01]\.\d{4}", lines[-1])
    folder = tmp_path / "runs" / "a"
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint", "curves.png", "history.json"]
    assert len(json.loads((folder / "history.json").read_text())) == 2
    about = load_checkpoint(folder).about
    assert about["model"] == {"name": "digits_cnn", "in_channels": 1, "image_size": [8, 8], "classes": 10}
    assert about["images"]["mean"] == [0.3052] and about["images"]["classes"] == list("0123456789")
    # The same again, with other threads: the same bits, and only one line.
    code, again, err = run(*QUICK, "--out", "runs/b", "--seed", "3", "--quiet", "--threads", "1")
    assert (code, again, err) == (0, lines[-1:], "")
    a, b = (load_file(tmp_path / "runs" / name / "checkpoint" / "model.safetensors") for name in "ab")
    assert all(np.array_equal(a[key], b[key]) for key in a)
    convkit.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


@pytest.mark.parametrize("schedule", recipes.SCHEDULES)
@pytest.mark.parametrize("optimizer", sorted(recipes.OPTIMIZERS))
def test_optimizers_and_schedules(run, tmp_path, optimizer, schedule):
    more = ["--label-smoothing", "0.1", "--weight-decay", "1e-4", "--warmup", "0.5", "--validation", "0.9", "--quiet", "--out", "a"]
    code, lines, err = run(*QUICK, "--optimizer", optimizer, "--schedule", schedule, *more)
    assert (code, err, len(lines)) == (0, "", 1)
    history = json.loads((tmp_path / "a" / "history.json").read_text())
    assert history[1]["loss"] < history[0]["loss"]


def test_schedules_in_numbers():
    def rates(schedule, epochs=4, steps=4, **more):
        settings = {"optimizer": "sgd", "lr": 1.0, "weight_decay": 0.0, "epochs": epochs, "schedule": schedule, "warmup": 0, **more}
        optimizer = recipes.make_optimizer(convkit.nn.Linear(1, 1), settings)
        scheduler, seen = recipes.make_schedule(optimizer, settings, steps), []
        for _ in range(epochs * steps):
            seen.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        return seen

    assert rates("constant") == [1.0] * 16
    assert rates("constant", warmup=0.5) == [0.5] + [1.0] * 15
    assert rates("step") == pytest.approx([1.0] * 8 + [0.1] * 4 + [0.01] * 4)
    assert rates("cosine") == pytest.approx([(1 + np.cos(np.pi * i / 16)) / 2 for i in range(16)])
    assert max(rates("one-cycle")) == pytest.approx(1, abs=0.02) and rates("one-cycle")[-1] < 1e-4
    assert np.argmax(rates("one-cycle", warmup=2)) == 7
    with pytest.raises(ValueError, match="a warm-up of 4 epochs leaves none of 4"):
        rates("cosine", warmup=4)


def test_every_recipe_is_for_a_model_and_a_data_set():
    assert sorted(recipes.RECIPES) == sorted(data.NAMES)
    for name, known in recipes.RECIPES.items():
        for recipe in known:
            assert recipe.model in models.names() and recipe.optimizer in recipes.OPTIMIZERS and recipe.schedule in recipes.SCHEDULES
            assert recipes.recipe_for(name, recipe.model, None)["lr"] == recipe.lr
    assert recipes.recipe_for("cifar10", "lenet5", None)["optimizer"] == "adam"
    assert recipes.recipe_for("mnist", "lenet5", "sgd")["lr"] == 0.1
    assert recipes.recipe_for("mnist", None, None)["model"] == "keras_cnn"


def test_train_without_validation(run):
    code, lines, _ = run("train", "--epochs", "1", "--validation", "0", "--out", "a")
    assert code == 0 and lines[0].startswith("digits: 1437 training, 0 validation") and "val_" not in lines[2]


def test_demo(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(train, "run", lambda args: asked.append(train._settings(args, None)))
    assert cli.main(["demo"]) == 0
    assert cli.main(["train", "--data", "digits", "--out", "runs/demo"]) == 0
    assert asked[0] == asked[1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send")
def test_ctrl_c_and_resume_give_the_same_bits(run, tmp_path):
    options = ["train", "--epochs", "12", "--batch-size", "32", "--validation", "0.2", "--seed", "5"]
    process = start(*options, "--out", "stopped", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch  2/12"):
            break
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err
    assert re.search(r"convkit: stopped in epoch \d+ after batch \d+ of 36; saved in stopped/checkpoint", err), err
    assert "convkit: to go on: convkit train --resume stopped" in err
    code, resumed, _ = run("train", "--resume", "stopped", "--quiet")
    assert code == 0
    code, whole, _ = run(*options, "--out", "whole", "--quiet")
    assert (code, whole) == (0, resumed)
    a, b = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("stopped", "whole"))
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_resume_keeps_its_options(run, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "a")
    code, lines, _ = run("train", "--resume", "a")  # finished: evaluates once more
    assert code == 0 and lines[-1].startswith("test accuracy ")
    code, _, err = run("train", "--resume", "a", "--lr", "0.5", "--epochs", "6", "--model", "lenet5")
    assert code == 2 and "it cannot have --model lenet5 (was digits_cnn), --lr 0.5 (was " in err
    code, _, err = run("train", "--resume", "a", "--epochs", "9")
    assert code == 2 and "--epochs 9 (was 6)" in err


def test_a_constant_schedule_can_go_on_for_longer(run):
    assert run(*QUICK, "--schedule", "constant", "--out", "a", "--quiet")[0] == 0
    code, longer, _ = run("train", "--resume", "a", "--epochs", "3", "--quiet")
    assert code == 0
    assert run(*QUICK[:3], "--epochs", "3", *QUICK[5:], "--schedule", "constant", "--out", "b", "--quiet")[1] == longer


# ---------------------------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "--epochs", "0"], "argument --epochs: must be 1 or larger, got 0"),
        (["train", "--epochs", "1.5"], "needs an integer, got '1.5'"),
        (["train", "--batch-size", "-1"], "must be 1 or larger"),
        (["train", "--lr", "0"], "must be above 0, got 0"),
        (["train", "--lr", "nan"], "must be above 0, got nan"),
        (["train", "--lr", "inf"], "must be finite, got inf"),
        (["evaluate", "--mean", "nan", "--std", "1", "x"], "needs finite numbers, got 'nan'"),
        (["train", "--label-smoothing", "2"], "must be 0 or larger and at most 1, got 2"),
        (["train", "--model", "alexnet"], "no model is called 'alexnet'; there are digits-cnn, fcn-gap"),
        (["train", "--data", "imagenet"], "no data set is called 'imagenet'; there are digits, mnist"),
        (["train", "--optimizer", "magic"], "invalid choice: 'magic'"),
        (["evaluate", "--mean", "a,b", "x"], "needs numbers between commas, got 'a,b'"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_usage_errors(run, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        run(*arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "--data", "mnist", "--data-dir", "nowhere"], "mnist: found none of train-images-idx3-ubyte"),
        (["train", "--data-dir", "nowhere"], "load: digits come with convkit and are not read from 'nowhere'"),
        (["train", "--validation", "1437"], "--validation 1437 leaves none of 1437 training images"),
        (["train", "--model", "keras-cnn"], "keras_cnn: image_size 8x8 is too small"),
        (["train", "--device", "cuda"], "device"),
        (["train", "--threads", "100000"], "set_num_threads"),
        (["train", "--resume", "nowhere"], "checkpoint: nowhere does not exist"),
        (["train", "--warmup", "99"], "a warm-up of 99 epochs"),
        (["train", "--out", "file"], "fit: could not make the folder file (File exists)"),
        (["train", "--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant", "--quiet"], "a lower learning rate"),
        (["predict", "nowhere", "image.png"], "checkpoint: nowhere does not exist"),
        (["evaluate"], "give either a checkpoint, or --model and --weights"),
        (["evaluate", "--weights", "a.npz"], "which data set? give --data"),
        (["evaluate", "--weights", "a.npz", "--data", "digits"], "--weights need --model"),
        (["evaluate", "--weights", "a.npz", "--data", "digits", "--model", "digits-cnn"], "error: a.npz: No such file"),
        (["evaluate", "--weights", "a.txt", "--data", "digits", "--model", "digits-cnn"], "should be an .npz or .safetensors file"),
        (
            ["evaluate", "--weights", "bad.npz", "--data", "digits", "--model", "digits-cnn"],
            ".npz file (it is no zip archive)",
        ),
        (["evaluate", "--weights", "bad.safetensors", "--data", "digits", "--model", "digits-cnn"], "bad.safetensors is damaged"),
        (["evaluate", "--weights", "a.npz", "--data", "digits", "--mean", "0"], "give --mean and --std together"),
        (["evaluate", "--weights", "a.npz", "--data", "digits", "--lossless"], "--lossless is for cifar10"),
    ],
)
def test_errors_that_a_user_can_mend(run, tmp_path, arguments, words):
    for name in ("file", "bad.npz", "bad.safetensors"):
        (tmp_path / name).write_text("something else")
    code, lines, err = run(*arguments)
    assert code == 2 and err.startswith("convkit: error: ") and words in err and "Traceback" not in err
    assert "Errno" not in err


def test_ctrl_c_outside_of_training_says_so(run, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(common, "use_machine", stop)
    assert run("train") == (130, [], "\nconvkit: interrupted\n")


def test_images_of_another_size(run, trained, monkeypatch):
    large = data.digits("test")
    large.images = np.pad(large.images, ((0, 0), (0, 0), (10, 10), (10, 10)))
    large.arrays = large.images, large.labels
    monkeypatch.setattr(data, "load", lambda *_: large)
    code, _, err = run("evaluate", trained, "--data", "mnist")
    assert code == 2 and f"evaluate: {trained} was trained on images 1x8x8, those of mnist are 1x28x28" in err and "1024 features" in err


def test_debug_shows_the_traceback(run, monkeypatch):
    for arguments in (["--debug", "predict", "nowhere", "x"], ["predict", "nowhere", "x", "--debug"]):
        with pytest.raises(FileNotFoundError):
            run(*arguments)
    monkeypatch.setenv("CONVKIT_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        run("predict", "nowhere", "x")
    monkeypatch.setenv("CONVKIT_DEBUG", "0")
    assert run("predict", "nowhere", "x")[0] == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows sets no limit on file sizes")
def test_full_disk(tmp_path):
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        "from convkit.cli import main; sys.exit(main(['train', '--epochs', '1', '--out', 'a', '--quiet']))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(p).resolve()) for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "could not write" in done.stderr and "File too large" in done.stderr
    assert [path.name for path in (tmp_path / "a").iterdir()] == []


def test_help_and_version(run, capsys):
    assert run("--version") == (0, [f"convkit {convkit.__version__}"], "")
    code, lines, err = run()
    assert code == 2 and "train" in err and lines == []
    for command in ("train", "demo", "evaluate", "predict", "info", "warmup"):
        with pytest.raises(SystemExit) as stop:
            run(command, "--help")
        assert stop.value.code == 0 and "--debug" in capsys.readouterr().out


def test_the_parser_needs_no_numba(python):
    python("import sys; from convkit.cli import parser; parser(); assert not {'numba', 'scipy', 'matplotlib', 'rich'} & set(sys.modules)")


def test_a_closed_pipe_is_no_error(tmp_path):
    process = start("info", cwd=tmp_path)
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 1) and "Traceback" not in process.stderr.read()
    process.stderr.close()


# ------------------------------------------------------------------------------ evaluate and predict
def test_evaluate(run, trained, tmp_path):
    code, lines, err = run("evaluate", trained)
    assert (code, err) == (0, "") and lines[0].endswith("mean 0.3052, std 0.376")
    accuracy = float(lines[-1].removeprefix("accuracy "))
    assert accuracy > 0.9
    weights = load_file(trained / "checkpoint" / "model.safetensors")
    np.savez(tmp_path / "weights.npz", **weights)
    for file in ("weights.npz", trained / "checkpoint" / "model.safetensors"):
        assert run("evaluate", "--weights", file, "--model", "digits-cnn", "--data", "digits")[1][-1] == lines[-1]
    other = run("evaluate", trained, "--mean", "0.9", "--std", "1")[1]
    assert other[0].endswith("mean 0.9, std 1") and other[-1] != lines[-1]
    assert run("evaluate", trained, "--split", "train")[1][0].startswith("1437 images")
    code, _, err = run("evaluate", "--weights", "weights.npz", "--model", "lenet5", "--data", "digits")
    assert code == 2 and "weights.npz does not hold the weights of lenet5" in err and "unexpected" in err


def test_evaluate_refuses_pickles(run, tmp_path):
    np.savez(tmp_path / "weights.npz", evil=np.array([{"a": 1}], dtype=object))
    code, _, err = run("evaluate", "--weights", "weights.npz", "--model", "lenet5", "--data", "digits")
    assert code == 2 and "allow_pickle=False" in err


def test_evaluate_pretrained_resnet(run, shared):
    folder = shared / "cifar10"
    weights = shared / "resnet-cifar10" / "resnet20.npz"
    dataset = data.cifar10_lossless(folder)
    model = common.make_model(common.describe_model("resnet20", dataset)).eval()
    evaluate.load_weights(model, "resnet20", weights)
    common.normalise_as(dataset, *evaluate.STATISTICS["cifar10", "resnet20"])
    few = data.Subset(dataset, range(0, 4000, 16))
    assert convkit.train.evaluate(model, few).accuracy >= 0.98


def test_predict(run, trained, tmp_path):
    test = data.digits("test")
    for i in range(8):
        Image.fromarray((test.images[i, 0].astype(np.float32) * 255 / 16).round().astype(np.uint8)).save(tmp_path / f"{i}.png")
    code, lines, err = run("predict", trained, *[f"{i}.png" for i in range(8)])
    assert (code, err) == (0, "")
    right = 0
    for i, line in enumerate(lines):
        found = re.fullmatch(rf"{i}\.png: (\d)  \((\d) (\d\.\d\d\d), \d 0\.\d\d\d, \d 0\.\d\d\d\)", line)
        assert found and found[1] == found[2]
        right += int(found[1]) == test.labels[i]
    assert right >= 7
    Image.fromarray(255 - np.asarray(Image.open(tmp_path / "0.png"))).convert("RGB").save(tmp_path / "dark.png")
    assert run("predict", trained, "dark.png", "--invert")[1] == [lines[0].replace("0.png", "dark.png", 1)]
    assert run("predict", trained, "0.png", "--top", "1")[1][0].count(",") == 0


def test_predict_reads_any_image(tmp_path):
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    path = tmp_path / "image.png"

    def read(image, channels=1, size=(8, 8)):
        image.save(path)
        return predict.read_image(path, channels, size)

    assert np.array_equal(read(Image.fromarray(grey))[0], grey)
    assert read(Image.fromarray(grey), channels=3).shape == (3, 8, 8)
    assert read(Image.fromarray(grey), size=(4, 12)).shape == (1, 4, 12)
    assert np.array_equal(read(Image.fromarray(grey.astype(np.uint16) * 257))[0], grey)
    assert set(read(Image.fromarray(grey > 100))[0].ravel()) == {0, 255}
    clear = Image.fromarray(np.dstack([grey, grey, grey, np.zeros_like(grey)]))
    assert (read(clear) == 255).all()
    turned = Image.fromarray(grey)
    exif = turned.getexif()
    exif[0x0112] = 3  # upside down
    turned.save(path, exif=exif)
    assert np.array_equal(predict.read_image(path, 1, (8, 8))[0], grey[::-1, ::-1])
    with pytest.raises(ValueError, match="takes 2 channels"):
        predict.read_image(path, 2, (8, 8))


def test_predict_refuses(run, trained, tmp_path):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    for name, words in (("none.png", "No such file"), ("cut.png", "not a"), ("text.png", "is not an image that can be read")):
        code, lines, err = run("predict", trained, name)
        assert code == 2 and lines == [] and words in err and name in err
    convkit.train.save_checkpoint(tmp_path / "mine", convkit.nn.Linear(2, 2))
    code, _, err = run("predict", "mine", "a.png")
    assert code == 2 and "was not saved by `convkit train`" in err


# --------------------------------------------------------------------------------- info and warmup
def test_info(run):
    code, lines, err = run("info")
    facts = dict(line.split(None, 1) for line in lines)
    assert (code, err) == (0, "") and facts["convkit"] == convkit.__version__ and facts["numpy"] == np.__version__
    text = "\n".join(lines)
    assert re.search(r"vector units +(avx512|avx2|neon|plain), \d+ bits", text) and re.search(r"threads +\d+, by (tbb|omp|workqueue)", text)
    assert re.search(r"kernel cache +.*kernels.* files, ", text) and re.search(r"costs of convolutions +built in$", text, re.M)


# Kernels that no operation reaches in float32, and those that measure the machine.
NOT_WARMED = {"random._bits", "random._normal64", "machine._copy", "machine._multiply"}


def test_warmup_compiles_every_kernel(run):
    import convkit_kernels.cpu

    code, lines, err = run("warmup")
    assert code == 0 and re.search(r"\d+ kernels compiled in \d+\.\d s", lines[-1])
    cold = set()
    for info in pkgutil.iter_modules(convkit_kernels.cpu.__path__):
        module = importlib.import_module(f"convkit_kernels.cpu.{info.name}")
        for name, value in vars(module).items():
            if hasattr(value, "dispatcher") and value.__module__ == module.__name__ and not value.dispatcher.signatures:
                cold.add(f"{info.name}.{name}")
    assert cold <= NOT_WARMED


def test_warmup_keeps_what_it_measures(monkeypatch, tmp_path):
    from convkit_kernels.cpu import calibration

    found = {"direct": {"sums": 1.5, "outer": 1.0}, "winograd": {"sums": 2.0, "outer": 0.5}}
    monkeypatch.setattr(calibration, "measured", lambda: found)
    monkeypatch.setattr(calibration, "path", lambda: tmp_path / "folder" / "costs.json")
    factors = "direct 1.5 (sums) and 1 (outer), winograd 2 (sums) and 0.5 (outer)"
    assert warmup._calibrated() == f"costs of convolutions: {factors} times the built-in ones; used from the next start on"
    assert calibration.parsed((tmp_path / "folder" / "costs.json").read_bytes()) == found
    monkeypatch.setattr(calibration, "path", lambda: tmp_path / "folder" / "costs.json" / "no folder")
    assert "; not kept: " in warmup._calibrated()


def test_warmup_in_float64():
    for part in warmup.PARTS:
        part(np.dtype(np.float64))


def test_numbers_between_limits():
    read = common.number(int, 1, 3)
    assert read("2") == 2
    for text in ("0", "4", "x"):
        with pytest.raises(argparse.ArgumentTypeError):
            read(text)
