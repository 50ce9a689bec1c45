"""What every test shares: the --full switch, how properties are searched, a certificate."""

import gc
import shutil
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.dying import LAST_WORDS, Mourner, remember_last_words

# What several files of tests run says what was wrong, as their own assertions do.
pytest.register_assert_rewrite("tests.contract.openai_calls", "tests.contract.anthropic_calls")

EXAMPLES, EXAMPLES_IN_FULL = 25, 250


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="run the tests marked `full` too: simulations, chaos rounds, soak",
    )


@pytest.hookimpl(trylast=True)  # after pytest itself has chosen where a crash is told
def pytest_configure(config: pytest.Config) -> None:
    """The same examples in every run, and no stop-watch.

    A deadline would make a busy machine fail a pure function, and a new example in every run would
    make someone's unrelated change fail.
    """
    examples = EXAMPLES_IN_FULL if config.getoption("--full") else EXAMPLES
    settings.register_profile("understudy", deadline=None, derandomize=True, max_examples=examples)
    settings.load_profile("understudy")
    # A shell has what it starts in the background ignore Ctrl-C, and tests and their children too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if (worker := getattr(config, "workerinput", None)) is None:
        config.pluginmanager.register(Mourner())
    else:
        remember_last_words(worker[LAST_WORDS])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives as long as the process, so nobody has to look for garbage in it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    skip = pytest.mark.skip(reason="long; runs with --full")
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The gateway runs on asyncio alone, so its tests do too."""
    return "asyncio"


@pytest.fixture(scope="session")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that vouches for itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, so TLS is not tested")
    path = tmp_path_factory.mktemp("tls") / "server.crt"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    files = ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run([*command.split(), *names.split(), *files], check=True, capture_output=True)
    return path


@pytest.fixture
def trusted(self_signed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, and the operator trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(self_signed))
    return self_signed
