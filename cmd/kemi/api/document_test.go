package api_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/docs"
)

func TestTheEventsDocumentIsServed(t *testing.T) {
	srv, _, _ := served(t)
	resp, err := http.Get(srv.URL + api.Prefix + "/events.asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || string(body) != docs.EventsAsyncAPI || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/vnd.aai.asyncapi+yaml") {
		t.Errorf("%s, %s, %d bytes", resp.Status, resp.Header.Get("Content-Type"), len(body))
	}
}
