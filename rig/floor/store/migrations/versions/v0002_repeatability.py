"""Repeatability of a feature, beside its whole sigma."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("features", sa.Column("repeatability", sa.Float))
