"""One validated Settings object, from ``POKEWATCH_*`` variables and a ``.env`` file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from pydantic import (
    AliasChoices,
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pokewatch.errors import PokewatchError, UsageError

_checkout = Path(__file__).resolve().parent.parent
# What the European Central Bank publishes rates of.
CURRENCIES = (
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MXN MYR NOK NZD PHP PLN "
    "RON SEK SGD THB TRY USD ZAR"
)
# What each of a list must look like, and how to write it.
LISTED = {
    "service_origins": (
        r"https?://[^/*\s]+",
        "write each site as https://name, without '*' and path",
    ),
    "browse_origins": (
        r"[\w.-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?",
        "write each host as name or name:port, without https:// and '*'",
    ),
}
# Installed as a wheel there is no checkout: the folder one works in is the project then.
PROJECT = _checkout if (_checkout / "pyproject.toml").exists() else Path.cwd()
MARKET = "cardmarket"  # the source in EUR: name of its home, and of its store, inside the others


class Marketplace(BaseModel, extra="forbid"):
    """What selling somewhere costs: a share of the price, USD an order, USD of sending it."""

    share: float = Field(default=0.0, ge=0, lt=1)
    order: float = Field(default=0.0, ge=0)
    shipping: float = Field(default=0.0, ge=0)


class Settings(BaseSettings):
    """Every tunable of PokeWatch; each is read from ``POKEWATCH_<NAME>`` or ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="POKEWATCH_", env_file=PROJECT / ".env", extra="ignore", validate_default=True
    )

    home: Path = Field(Path("data"), description="data home; a relative path lies in the project")
    store: str = Field("", description="where the Delta tables live: a path or URL; default: home")
    cache_url: SecretStr = Field(
        SecretStr(""), description="Redis that shares predictions, redis://…; default: memory only"
    )
    dask: str = Field(
        "", description="Dask scheduler that parallel work goes to, tcp://…; default: this machine"
    )
    watchlist: Path = Field(Path("watchlist.yaml"), description="the user's cards")
    source: str = Field("simulated", description="source used when a command names none")
    fallback: list[str] = Field(
        [], description="sources asked for what the first one did not deliver"
    )
    currency: str = Field("USD", description="currency that amounts are shown in, such as EUR")
    ecb_url: str = Field(
        "https://www.ecb.europa.eu/stats/eurofxref", description="base URL of the ECB's rates"
    )
    seed: int = Field(7, ge=0, description="seed of models and of the simulated market")

    tcgcsv_url: str = Field("https://tcgcsv.com", description="base URL of tcgcsv")
    tcgcsv_categories: list[int] = Field([3], description="3 Pokémon, 85 Pokémon Japan")
    archive_days: int = Field(0, ge=0, description="days that what was pulled is kept; 0: for ever")
    tcgdex_url: str = Field("https://api.tcgdex.net/v2", description="base URL of TCGdex")
    pokemontcg_url: str = Field(
        "https://api.pokemontcg.io/v2", description="base URL of pokemontcg.io"
    )
    pokemontcg_key: SecretStr = Field(
        SecretStr(""), description="key of pokemontcg.io; without one it allows fewer requests"
    )
    pokemonpricetracker_url: str = Field(
        "https://www.pokemonpricetracker.com/api/v2", description="base URL of PokemonPriceTracker"
    )
    pokemonpricetracker_key: SecretStr = Field(
        SecretStr(""), description="key of PokemonPriceTracker; it answers nobody without"
    )
    pokemonpricetracker_calls: int = Field(
        100, ge=1, description="credits that your PokemonPriceTracker plan has for a day"
    )
    cardmarket_url: str = Field(
        "https://downloads.s3.cardmarket.com/productCatalog", description="base URL of Cardmarket"
    )
    sets: list[str] = Field(
        [], description="sets asked for whole of tcgdex, pokemontcg and pokemonpricetracker"
    )
    eur_usd: float = Field(0.0, ge=0, description="USD for one EUR; 0: EUR prices are refused")
    contact: str = Field("", description="contact shown to services in the User-Agent")
    request_interval: float = Field(0.1, ge=0, description="seconds between two requests")
    request_timeout: float = Field(60.0, gt=0, description="seconds before a request is given up")
    request_attempts: int = Field(5, ge=1, description="tries of one request")

    max_price: float = Field(1_000_000.0, gt=0, description="USD; above it a price is absurd")
    jump_factor: float = Field(3.0, gt=1, description="a move beyond this factor is held back")
    jump_floor: float = Field(1.0, ge=0, description="USD; smaller moves are never held back")
    jump_confirmations: int = Field(
        2, ge=1, description="later observations that confirm a held level"
    )

    coverage_floor: float = Field(
        0.95, ge=0, le=1, description="share of the last good day's cards that a day must have"
    )
    disagreement: float = Field(
        0.25, gt=0, description="difference of two sources on one card and day that is flagged"
    )

    tracking: bool = Field(True, description="log every training to MLflow")
    retention_days: int = Field(
        30, ge=7, description="days that replaced versions of a table stay readable"
    )
    fee: float = Field(0.13, ge=0, lt=1, description="share of the price that selling costs")
    marketplaces: dict[str, Marketplace] = Field(
        {
            "eBay": Marketplace(share=0.1325, order=0.30, shipping=1.0),
            "TCGplayer": Marketplace(share=0.1275, order=0.30, shipping=1.0),
            "private sale": Marketplace(),
        },
        description="where you could sell: share of the price, USD an order, USD of sending it",
    )
    prior: bool = Field(
        True, description="use the prior for sealed products and cards that sell daily"
    )
    good_move: float = Field(0.05, gt=0, lt=1, description="move that makes a BUY or SELL right")
    signal_lift: float = Field(3.0, ge=1, description="wanted precision over the base rate")
    stale_days: int = Field(3, ge=0, description="days after which a price is stale")

    api_keys: SecretStr = Field(
        SecretStr(""),
        description="keys of the first system, parted by commas; better: 'pokewatch keys create'",
        validation_alias=AliasChoices("POKEWATCH_API_KEYS", "API_KEYS"),
    )
    service_rate: str = Field("600/minute", description="requests a key may send")
    service_failures: str = Field("10/minute", description="wrong keys an address may send")
    service_body: int = Field(256_000, ge=1000, description="bytes a request's body may have")
    service_origins: list[str] = Field(
        [], description="sites whose pages may call the service, https://…; default: none"
    )
    service_metrics: bool = Field(False, description="serve /metrics, without a key")

    browse_password: SecretStr = Field(
        SecretStr(""), description="password of the pages that 'pokewatch browse' serves"
    )
    browse_origins: list[str] = Field(
        [], description="other hosts, name:port, under which browsers see the pages"
    )

    @field_validator("service_rate", "service_failures")
    @classmethod
    def _a_rate(cls, value: str) -> str:
        if not re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour|day)", value):
            raise ValueError("write it as 600/minute")
        return value

    @field_validator("service_origins", "browse_origins")
    @classmethod
    def _listed(cls, value: list[str], info: ValidationInfo) -> list[str]:
        form, advice = LISTED[str(info.field_name)]
        if not all(re.fullmatch(form, one) for one in value):
            raise ValueError(advice)
        return value

    @field_validator("currency")
    @classmethod
    def _with_a_rate(cls, value: str) -> str:
        code = value.strip().upper()
        if code not in CURRENCIES.split():
            raise ValueError(f"write one of {CURRENCIES.replace(' ', ', ')}")
        return code

    @field_validator("home", "watchlist", "currency", mode="before")
    @classmethod
    def _named(cls, value: object, info: ValidationInfo) -> object:
        """Take an empty value for the default, as the script for cron does."""
        return value or cls.model_fields[str(info.field_name)].default

    @field_validator("home", "watchlist")
    @classmethod
    def _inside_project(cls, value: Path) -> Path:
        value = value.expanduser()
        return value if value.is_absolute() else PROJECT / value

    @field_validator("home")
    @classmethod
    def _addressable(cls, value: Path) -> Path:
        """Refuse a home that SQLite's addresses cut short: its files would lie beside it."""
        if "?" in str(value):
            raise ValueError("a '?' in its name: choose another folder")
        return value

    @property
    def store_root(self) -> str:
        """Path or URL of the folder that holds the Delta tables; those in EUR end in ``MARKET``."""
        if not self.store:
            return str(self.home)
        root = self.store if self.store.endswith("://") else self.store.rstrip("/")
        if self.home.name == MARKET and not root.endswith(f"/{MARKET}"):
            root = f"{root}/{MARKET}"
        return root if "://" in root else str(self._inside_project(Path(root)))

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        """Yield what a print shows: addresses without user and password."""
        for name, value in super().__repr_args__():
            yield name, re.sub(r"//[^/]*@", "//", value) if isinstance(value, str) else value

    def make_home(self) -> Path:
        """Make the data home where it is missing, for this user only: it may hold secrets."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise PokewatchError(
                f"data home '{self.home}' cannot be made ({error.strerror}): set POKEWATCH_HOME "
                "to a folder of yours"
            ) from error
        return self.home

    @property
    def models_dir(self) -> Path:
        """Folder of fitted models."""
        return self.home / "models"

    @property
    def reports_dir(self) -> Path:
        """Folder of reports and executed notebooks."""
        return self.home / "reports"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the process's settings; a bad value raises ``UsageError`` that names it."""
    return load_settings()


def load_settings(**overrides: object) -> Settings:
    """Build settings from environment, ``.env`` and ``overrides`` (highest priority)."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"][:1])
        raise UsageError(
            f"setting POKEWATCH_{name.upper()}={first.get('input')!r}: {first['msg']}; "
            "mend it in the environment or in .env"
        ) from error
    except SettingsError as error:  # 'error parsing value for field "sets" from source …'
        name = str(error).split('"')[1]
        raise UsageError(
            f'setting POKEWATCH_{name.upper()} is no JSON: write a list as ["one", "two"] or '
            '[3, 85], marketplaces as {"eBay": {"share": 0.13}}; mend it in the environment or '
            "in .env"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"'.env' is no UTF-8 text ({error}): save it as UTF-8") from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
