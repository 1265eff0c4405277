"""Empty databases at the very revision that a snapshot was taken at, by MLflow's own migrations."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddr.errors import Unsupported
from ddr.lib import redact

REVISIONS = "alembic_version"


def migrate(url: str, revision: str) -> None:
    """MLflow's own migrations into an empty database. Unsupported without an MLflow that knows the revision."""
    with _quiet():
        command, config, base = _mlflow(url)
        from alembic.script import ScriptDirectory
        from alembic.util import CommandError

        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError as problem:
            raise Unsupported(
                f"the installed MLflow does not know the schema revision {revision} of this snapshot",
                hint="install the MLflow that wrote it, or a newer one, then restore again",
            ) from problem
        _upgrade(url, revision, command, config, base)


def _mlflow(url: str) -> tuple[Any, Any, Any]:
    try:
        from alembic import command
        from alembic.config import Config
        from mlflow.store import db_migrations
        from mlflow.store.tracking.dbmodels import initial_models
    except ImportError as problem:
        raise Unsupported(
            "making the tables in another kind of database needs MLflow's own migrations, and MLflow is not installed",
            hint="pip install 'ddr[mlflow]', or restore into SQLite as the snapshot was",
        ) from problem
    scripts = Path(str(db_migrations.__file__)).parent
    config = Config(str(scripts / "alembic.ini"))
    config.set_main_option("script_location", str(scripts))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return command, config, initial_models.Base


def _upgrade(url: str, revision: str, command: Any, config: Any, base: Any) -> None:
    import sqlalchemy

    try:
        with _engine(url) as engine:
            if not [name for name in sqlalchemy.inspect(engine).get_table_names() if not name.startswith("alembic_")]:
                base.metadata.create_all(engine)
            with engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
    except sqlalchemy.exc.SQLAlchemyError as problem:
        raise Unsupported(
            f"MLflow's migrations failed: {redact.foreign(problem)}",
            hint="restore into an empty database, and look at its rights",
        ) from problem


@contextmanager
def _engine(url: str) -> Iterator[Any]:
    """PostgreSQL takes made tables back: there all migrations are one transaction, of which a kill leaves nothing.

    Some of them commit and env.py asks for a connection of its own, so every connection is the one, and only the end
    of the block commits. MySQL ends a transaction at each table that is made.
    """
    import sqlalchemy

    if not url.startswith("postgresql"):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        try:
            yield engine
        finally:
            engine.dispose()
        return
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.StaticPool, pool_reset_on_return=None)
    dialect: Any = engine.dialect
    dialect.do_commit = dialect.do_rollback = lambda connection: None
    try:
        yield engine
        engine.raw_connection().commit()
    finally:
        engine.dispose()


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's import and alembic's steps talk a lot."""
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
