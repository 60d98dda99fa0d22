// Go's net/http, over HTTP/1.1 or h2; the argument selects the protocol.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
)

func must[T any](it T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return it
}

func encoded(text []byte) string {
	if len(text) == 0 {
		return "-"
	}
	return base64.StdEncoding.EncodeToString(text)
}

func main() {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(os.Getenv("CLIENTS_CA"))))
	version := map[string]int{"1.1": 1, "h2": 2}[os.Args[1]]
	secure := &tls.Config{RootCAs: roots}
	transport := &http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: version == 2}
	client := http.Client{Transport: transport}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return
		}
		var texts [5][]byte
		for at, text := range strings.Fields(must(line, err)) {
			if text != "-" {
				texts[at] = must(base64.StdEncoding.DecodeString(text))
			}
		}
		body, form := bytes.NewReader(texts[3]), ""
		if texts[4] != nil {
			var made bytes.Buffer
			writer := multipart.NewWriter(&made)
			must(must(writer.CreateFormFile("file", string(texts[4]))).Write(texts[3]))
			must(0, writer.Close())
			body, form = bytes.NewReader(made.Bytes()), writer.FormDataContentType()
		}
		request := must(http.NewRequest(string(texts[0]), string(texts[1]), body))
		for _, field := range strings.Split(string(texts[2]), "\n") {
			name, value, _ := strings.Cut(field, ": ")
			request.Header.Set(name, value)
		}
		if form != "" {
			request.Header.Set("Content-Type", form)
		}
		answer := must(client.Do(request))
		if answer.ProtoMajor != version {
			must(0, fmt.Errorf("it is %s", answer.Proto))
		}
		content := must(io.ReadAll(answer.Body))
		must(0, answer.Body.Close())
		var heads bytes.Buffer
		must(0, answer.Header.Write(&heads))
		fmt.Println(answer.StatusCode, encoded(heads.Bytes()), encoded(content))
	}
}
