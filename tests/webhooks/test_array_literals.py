"""Array literals as PostgreSQL reads them."""

from webhooks.postgres import array_literals


def test_texts_are_quoted_as_the_database_reads_them() -> None:
    assert array_literals.text_array_literal([]) == "{}"
    assert array_literals.text_array_literal(["a", "", "null", "{b}"]) == '{"a","","null","{b}"}'
    assert array_literals.text_array_literal(["a", None]) == '{"a",null}'
    assert array_literals.text_array_literal(['a","b', "c\\d"]) == '{"a\\",\\"b","c\\\\d"}'
