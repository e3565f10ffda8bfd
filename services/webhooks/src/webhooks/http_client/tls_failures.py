"""Why a TLS handshake failed, in a word, from what OpenSSL says. Its texts differ between versions; its codes and reasons do not."""

import ssl

from webhooks.http_client.responses import CauseDetail

_BY_CODE: dict[int, CauseDetail] = {
    9: "certificate_not_yet_valid",  # X509_V_ERR_CERT_NOT_YET_VALID
    10: "certificate_expired",  # X509_V_ERR_CERT_HAS_EXPIRED
    18: "self_signed",  # X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT
    19: "unknown_issuer",  # X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: the issuer comes with it, and is none that we trust
    20: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    2: "unknown_issuer",  # X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT
    62: "name_mismatch",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "name_mismatch",  # X509_V_ERR_IP_ADDRESS_MISMATCH
}
_BY_REASON: dict[str, CauseDetail] = {
    "WRONG_VERSION_NUMBER": "no_tls",
    "HTTP_REQUEST": "no_tls",
    "RECORD_LAYER_FAILURE": "no_tls",
    "UNSUPPORTED_PROTOCOL": "no_common_version",
    "TLSV1_ALERT_PROTOCOL_VERSION": "no_common_version",
}


def tls_failure(error: Exception) -> CauseDetail:
    """The word for what ended the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_CODE.get(error.verify_code, "certificate_refused")
    if isinstance(error, ssl.SSLError):
        return _BY_REASON.get(error.reason or "", "handshake_failed")
    return "handshake_failed"
