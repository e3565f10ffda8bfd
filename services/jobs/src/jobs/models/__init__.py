"""Tables (`tables`, `imports`) and the API's views of them: `X` is answered, `XIn` is what creates one, `XFilters` narrows a list."""

# Whoever looks at the tables' metadata has to find all of them.
from jobs.models import imports as imports
