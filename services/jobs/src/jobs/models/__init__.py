"""Tables (`tables`) and the API's views of them: `X` is answered, `XIn` is what creates one, `XFilters` narrows a list."""
