"""Runs and their features."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("rig", 200),
        _text("path", 600),
        _text("part", 255),
        _text("part_type", 255),
        _text("operator", 255),
        _text("batch", 255),
        _text("search", 800),
        sa.Column("measured_at", sa.DateTime, nullable=False),
        _text("verdict", 40),
        sa.Column("exit_code", sa.Integer, nullable=False),
        _text("plan_hash", 64),
        _text("method", 60),
        _text("version", 60),
        sa.Column("seconds", sa.Float),
        sa.Column("figures", sa.JSON, nullable=False),
        sa.Column("deviation", sa.JSON, nullable=False),
        sa.Column("notes", sa.JSON, nullable=False),
        sa.UniqueConstraint("rig", "path", name="runs_rig_path"),
    )
    op.create_index("runs_measured", "runs", ["measured_at", "id"])
    op.create_index("runs_part", "runs", ["part", "measured_at"])
    op.create_index("runs_type", "runs", ["part_type", "measured_at"])
    op.create_index("runs_verdict", "runs", ["verdict", "measured_at"])
    op.create_table(
        "features",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "run_id", sa.Integer, sa.ForeignKey("runs.id", ondelete="CASCADE"), nullable=False
        ),
        _text("name", 255),
        _text("kind", 60),
        _text("unit", 20),
        *(sa.Column(name, sa.Float) for name in ("value", "sigma", "nominal", "lower", "upper")),
        _text("verdict", 40),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("features_run", "features", ["run_id"])
    op.create_index("features_name", "features", ["name"])


def downgrade() -> None:
    op.drop_table("features")
    op.drop_table("runs")
