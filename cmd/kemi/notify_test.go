package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func TestAReceiverIsTriedForRealAndTheAnswerShown(t *testing.T) {
	var got []string
	code := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, string(body))
		w.WriteHeader(code)
		fmt.Fprint(w, "ticket 17")
	}))
	defer srv.Close()
	dir := files(t, map[string]string{"kemi.yaml": "people: {jo: {name: Jo, ways: [hook]}}\nreceivers: {hook: {webhook: {url: \"" + srv.URL + "\"}}}\n"})
	try := func(args ...string) (string, error) {
		cmd := newNotify()
		var out bytes.Buffer
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetOut(&out)
		cmd.SetErr(io.Discard)
		cmd.SetArgs(append([]string{"test", "-c", filepath.Join(dir, "kemi.yaml")}, args...))
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	out, err := try("hook", "--person", "jo")
	if err != nil || !strings.HasPrefix(out, "hook took it") || len(got) != 1 || !strings.Contains(got[0], "TEST: this is only a test") {
		t.Errorf("%v, said %q, sent %q", err, out, got)
	}
	code = http.StatusForbidden
	if out, err := try("hook", "-o", "json"); !errors.Is(err, errWrong) || !strings.Contains(out, `"permanent": true`) || !strings.Contains(out, "403") {
		t.Errorf("refused: %v, said %q", err, out)
	}
	code = http.StatusServiceUnavailable
	if out, err := try("hook"); !errors.Is(err, errWrong) || !strings.HasPrefix(out, "hook did not take it: ") || strings.Count(out, "ticket 17") != 1 {
		t.Errorf("away: %v, said %q", err, out)
	}
	if len(got) != 3 {
		t.Errorf("%d attempts: one each is meant", len(got))
	}
	if out, err := try("hok"); out != "" || err == nil || !strings.Contains(err.Error(), `there is no receiver "hok": did you mean "hook"?`) {
		t.Errorf("a receiver that is none: %v, said %q", err, out)
	}
	if _, err := try("hook", "--person", "joe"); err == nil || !strings.Contains(err.Error(), `did you mean "jo"`) {
		t.Errorf("a person who is none: %v", err)
	}
}
