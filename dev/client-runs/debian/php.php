<?php
// PHP's curl extension over HTTP/1.1 or h2, or its stream wrapper; the argument selects one.

function over_curl(string $method, string $url, array $fields, ?string $body, ?string $name): array
{
    global $argv, $curl;
    $curl ??= curl_init();
    $lines = [];
    $h2 = $argv[1] === 'h2';
    // Connections outlive this.
    curl_reset($curl);
    curl_setopt_array($curl, [
        CURLOPT_URL => $url,
        CURLOPT_CUSTOMREQUEST => $method,
        CURLOPT_HTTP_VERSION => $h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1,
        CURLOPT_CAINFO => getenv('CLIENTS_CA'),
        CURLOPT_HTTPHEADER => $fields,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_HEADERFUNCTION => function ($_, string $line) use (&$lines): int {
            $lines[] = trim($line);
            return strlen($line);
        },
    ]);
    if ($name !== null) {
        $form = ['file' => new CURLStringFile($body, $name)];
        curl_setopt($curl, CURLOPT_POSTFIELDS, $form);
    } elseif ($body !== null) {
        curl_setopt($curl, CURLOPT_POSTFIELDS, $body);
    }
    $answer = curl_exec($curl);
    $answer !== false or throw new Exception(curl_error($curl));
    $version = curl_getinfo($curl, CURLINFO_HTTP_VERSION);
    $version === ($h2 ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1) or
        throw new Exception("HTTP version $version");
    return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $lines, $answer];
}

function over_stream(string $method, string $url, array $fields, ?string $body): array
{
    $http = ['method' => $method, 'header' => $fields, 'ignore_errors' => true];
    $http += ['protocol_version' => '1.1'] + ($body === null ? [] : ['content' => $body]);
    $context = ['http' => $http, 'ssl' => ['cafile' => getenv('CLIENTS_CA')]];
    $answer = file_get_contents($url, false, stream_context_create($context));
    $answer !== false or throw new Exception('no answer');
    return [(int) explode(' ', $http_response_header[0])[1], $http_response_header, $answer];
}

$ask = $argv[1] === 'stream' ? over_stream(...) : over_curl(...);
while ($line = fgets(STDIN)) {
    $decode = fn (string $it): ?string => $it === '-' ? null : base64_decode($it);
    [$method, $url, $fields, $body, $name] = array_map($decode, explode(' ', trim($line)));
    [$status, $lines, $answer] = $ask($method, $url, explode("\n", $fields), $body, $name);
    $texts = array_map(base64_encode(...), [implode("\n", $lines), $answer]);
    echo $status, ' ', $texts[0], ' ', $texts[1] ?: '-', "\n";
}
