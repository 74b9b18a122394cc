"""The tables of the results store. Migrations beside this file make them; see `database`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Base of the tables."""


class Run(Base):
    """One result of one part.

    Attributes
    ----------
    rig : name of the instrument, so that several rigs share one database
    path : the result's folder, told from the workspace, with slashes
    measured_at : UTC, without a zone
    search : what a text is looked for in: part, batch and operator in small letters
    figures, deviation, notes : as in ``verdict.json``
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("rig", "path", name="runs_rig_path"),
        Index("runs_measured", "measured_at", "id"),
        Index("runs_part", "part", "measured_at"),
        Index("runs_type", "part_type", "measured_at"),
        Index("runs_verdict", "verdict", "measured_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    rig: Mapped[str] = mapped_column(String(200))
    path: Mapped[str] = mapped_column(String(600))
    part: Mapped[str] = mapped_column(String(255))
    part_type: Mapped[str] = mapped_column(String(255), default="")
    operator: Mapped[str] = mapped_column(String(255), default="")
    batch: Mapped[str] = mapped_column(String(255), default="")
    search: Mapped[str] = mapped_column(String(800), default="")
    measured_at: Mapped[datetime] = mapped_column(DateTime)
    verdict: Mapped[str] = mapped_column(String(40))
    exit_code: Mapped[int]
    plan_hash: Mapped[str] = mapped_column(String(64), default="")
    method: Mapped[str] = mapped_column(String(60), default="")
    version: Mapped[str] = mapped_column(String(60), default="")
    seconds: Mapped[float | None]
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    deviation: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    notes: Mapped[list[str]] = mapped_column(JSON, default=list)
    features: Mapped[list[Feature]] = relationship(
        back_populates="run",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Feature.id",
    )


class Feature(Base):
    """One feature of an inspection plan on one result."""

    __tablename__ = "features"
    __table_args__ = (Index("features_run", "run_id"), Index("features_name", "name"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(60))
    unit: Mapped[str] = mapped_column(String(20), default="")
    value: Mapped[float | None]
    sigma: Mapped[float | None]
    repeatability: Mapped[float | None]
    nominal: Mapped[float | None]
    lower: Mapped[float | None]
    upper: Mapped[float | None]
    verdict: Mapped[str] = mapped_column(String(40))
    reason: Mapped[str] = mapped_column(Text, default="")
    run: Mapped[Run] = relationship(back_populates="features")
