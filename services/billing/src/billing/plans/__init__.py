"""Plans: what is sold, in versions that never change once they are loaded."""

from billing.plans.operations import load
from billing.plans.queries import check_region, get_many, get_on_sale, list_on_sale, tax_rates
from billing.plans.rules import Place, PlanChanged, PlanNotFound, PlanRef, PlanTerms, TaxRate
from billing.plans.schemas import Plan, PlanFile
from billing.plans.tables import PlanRow, TaxRateRow

__all__ = [
    "Place",
    "Plan",
    "PlanChanged",
    "PlanFile",
    "PlanNotFound",
    "PlanRef",
    "PlanRow",
    "PlanTerms",
    "TaxRate",
    "TaxRateRow",
    "check_region",
    "get_many",
    "get_on_sale",
    "list_on_sale",
    "load",
    "tax_rates",
]
