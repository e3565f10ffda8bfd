<?php
// Receives webhooks of Waybill. Needs PHP 8.2, with sodium (part of it) if it verifies with a public key.
declare(strict_types=1);

const TOLERANCE_SECONDS = 300;
const BODY_BYTES_MAX = 1024 * 1024;

/** Whether Waybill has sent this body, and just now. */
function is_genuine(string $id, string $timestamp, string $signatures, string $body): bool
{
    if ($id === '' || !preg_match('/^\d{1,12}$/D', $timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $content = "$id.$timestamp.$body";
    foreach (explode(' ', $signatures) as $one) {
        [$version, $encoded] = [...explode(',', $one, 2), ''];
        $signature = (string) base64_decode($encoded, true);
        if (($version === 'v1' && has_secret($content, $signature)) || ($version === 'v1a' && has_key($content, $signature))) {
            return true;
        }
    }
    return false;
}

function has_secret(string $content, string $signature): bool
{
    // whsec_…, during a rotation two
    foreach (array_filter(explode(',', (string) getenv('WEBHOOK_SECRET'))) as $secret) {
        $key = base64_decode(substr($secret, strlen('whsec_')));
        if (hash_equals(hash_hmac('sha256', $content, $key, true), $signature)) {
            return true;
        }
    }
    return false;
}

function has_key(string $content, string $signature): bool
{
    $key = (string) getenv('WEBHOOK_PUBLIC_KEY'); // whpk_…, if the endpoint has a key pair
    return $key !== ''
        && strlen($signature) === 64
        && sodium_crypto_sign_verify_detached($signature, $content, base64_decode(substr($key, strlen('whpk_'))));
}

$body = (string) file_get_contents('php://input', length: BODY_BYTES_MAX + 1); // the bytes as they came: not parsed, not decoded
$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
if (strlen($body) > BODY_BYTES_MAX) {
    http_response_code(413);
} elseif (!is_genuine($id, $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '', $body)) {
    http_response_code(401);
} else {
    // In a real receiver: a unique column of your database. A file can be made once only.
    $first = @fopen((getenv('SEEN_FOLDER') ?: sys_get_temp_dir()) . '/' . hash('sha256', $id), 'x');
    if ($first !== false) {
        // Put it into a queue of yours: answer first, work later.
        file_put_contents('php://stderr', $id . ' ' . json_decode($body, flags: JSON_THROW_ON_ERROR)->type . "\n");
    }
    http_response_code(204);
}
