package embedded_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/processors/series/embedded"
)

// call asks the API and returns the status and the answer, decoded.
func call(t *testing.T, h http.Handler, method, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else if len(form) > 0 {
		path += "?" + form.Encode()
	}
	r := httptest.NewRequest(method, path, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("%s: content type %q", path, got)
	}
	if got := w.Header().Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("%s: lets %q in", path, got)
	}
	var answer map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, w.Body)
	}
	return w.Code, answer
}

func stored(t *testing.T) *store {
	s := open(t, t.TempDir())
	s.write(reading(0, 10, 20), reading(10*sec, 30, 40))
	return s
}

func stamp(d time.Duration) string { return fmt.Sprint(start.Add(d).Unix()) }

// decoded is JSON as call returns it.
func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// The answers have the exact form of Prometheus's documentation of its HTTP API.
func TestAnswersHavePrometheussForm(t *testing.T) {
	h := stored(t).Handler()
	one, two := stamp(0), stamp(10*sec)
	first := `{"__name__":"octets","class":"switch","ifIndex":"1","target":"tor-1"}`
	second := `{"__name__":"octets","class":"switch","ifIndex":"2","target":"tor-1"}`
	for _, c := range []struct {
		path string
		form url.Values
		want string
	}{
		{
			"query",
			url.Values{"query": {"octets"}, "time": {two + ".5"}},
			`{"resultType":"vector","result":[{"metric":` + first + `,"value":[` + two + `.5,"30"]},{"metric":` + second + `,"value":[` + two + `.5,"40"]}]}`,
		},
		{
			"query",
			url.Values{"query": {"octets[1m]"}, "time": {two}, "limit": {"1"}},
			`{"resultType":"matrix","result":[{"metric":` + first + `,"values":[[` + one + `,"10"],[` + two + `,"30"]]}]}`,
		},
		{"query", url.Values{"query": {"1/0"}, "time": {two}}, `{"resultType":"scalar","result":[` + two + `,"+Inf"]}`},
		{"query", url.Values{"query": {`"say \"hi\" ü"`}, "time": {two}}, `{"resultType":"string","result":[` + two + `,"say \"hi\" ü"]}`},
		{"query", url.Values{"query": {"nothing"}, "time": {two}}, `{"resultType":"vector","result":[]}`},
		{
			"query",
			url.Values{"query": {"1e-9 * octets{ifIndex='1'} or octets{ifIndex='1'} * 1e30"}, "time": {start.Add(10 * sec).Format(time.RFC3339)}},
			`{"resultType":"vector","result":[{"metric":{"class":"switch","ifIndex":"1","target":"tor-1"},"value":[` + two + `,"3.0000000000000004e-08"]}]}`,
		},
		{
			"query_range",
			url.Values{"query": {"sum(octets)"}, "start": {one}, "end": {two}, "step": {"10s"}},
			`{"resultType":"matrix","result":[{"metric":{},"values":[[` + one + `,"30"],[` + two + `,"70"]]}]}`,
		},
		{"series", url.Values{"match[]": {`octets{ifIndex="1"}`, `{ifIndex=~"1"}`}}, `[` + first + `]`},
		{"labels", nil, `["__name__","check","class","ifIndex","target"]`},
		{"labels", url.Values{"match[]": {"up"}}, `["__name__","check","class","target"]`},
		{"label/ifIndex/values", nil, `["1","2"]`},
		{"label/__name__/values", url.Values{"limit": {"2"}}, `["kemi_poll_duration_seconds","octets"]`},
		{"label/nope/values", url.Values{"match[]": {"up", "octets"}}, `[]`},
		{"format_query", url.Values{"query": {"sum  (up)"}}, `"sum(up)"`},
		{"metadata", nil, `{}`},
		{"rules", nil, `{"groups":[]}`},
		{"alerts", nil, `{"alerts":[]}`},
		{"query_exemplars", url.Values{"query": {"up"}}, `[]`},
		{"targets", nil, `{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}`},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, got := call(t, h, method, "/api/v1/"+c.path, c.form)
			want := decoded(t, `{"status":"success","data":`+c.want+`}`)
			if c.form.Get("limit") != "" {
				want["warnings"] = []any{"results truncated due to limit"}
			}
			if diff := cmp.Diff(want, got); diff != "" || status != http.StatusOK {
				t.Errorf("%s %s %v: status %d, %s", method, c.path, c.form, status, diff)
			}
		}
	}
}

func TestStatusAnswersWhatClientsLookFor(t *testing.T) {
	h := stored(t).Handler()
	_, info := call(t, h, http.MethodGet, "/api/v1/status/buildinfo", nil)
	if v := info["data"].(map[string]any)["version"]; v == "" || v == nil {
		t.Errorf("no version in %v", info)
	}
	_, stats := call(t, h, http.MethodGet, "/api/v1/status/tsdb", url.Values{"limit": {"1"}})
	want := decoded(t, `{"headStats":{"numSeries":4,"numLabelPairs":8,"chunkCount":0,"minTime":`+stamp(0)+`000,"maxTime":`+stamp(10*sec)+`000}}`)
	data := stats["data"].(map[string]any)
	if diff := cmp.Diff(want["headStats"], data["headStats"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{map[string]any{"name": "octets", "value": 2.0}}, data["seriesCountByMetricName"]); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreAnsweredAsErrors(t *testing.T) {
	h := stored(t).Handler()
	for _, c := range []struct {
		path   string
		form   url.Values
		status int
		kind   string
		text   string
	}{
		{"query", url.Values{"query": {"sum("}}, 400, "bad_data", "parse error"},
		{"query", nil, 400, "bad_data", "query"},
		{"query", url.Values{"query": {"up"}, "time": {"yesterday"}}, 400, "bad_data", `"yesterday"`},
		{"query", url.Values{"query": {"up"}, "timeout": {"soon"}}, 400, "bad_data", `"soon"`},
		{"query", url.Values{"query": {"up"}, "limit": {"-1"}}, 400, "bad_data", "limit"},
		{"query", url.Values{"query": {"up + on(target) octets"}, "time": {stamp(0)}}, 422, "execution", "many"},
		{"query", url.Values{"query": {"up"}, "timeout": {"0"}}, 503, "timeout", "deadline"},
		{"query_range", url.Values{"query": {"up"}}, 400, "bad_data", "start"},
		{"query_range", url.Values{"query": {"up"}, "start": {"10"}, "end": {"5"}, "step": {"1"}}, 400, "bad_data", "end"},
		{"query_range", url.Values{"query": {"up"}, "start": {"0"}, "end": {"5"}, "step": {"0"}}, 400, "bad_data", "step"},
		{"query_range", url.Values{"query": {"up"}, "start": {"0"}, "end": {"20000"}, "step": {"1"}}, 400, "bad_data", "11000"},
		{"series", nil, 400, "bad_data", "match[]"},
		{"series", url.Values{"match[]": {"{"}}, 400, "bad_data", "match[]"},
		{"labels", url.Values{"match[]": {`{a=~".*"}`}}, 400, "bad_data", "non-empty"},
		{"label/%FF/values", nil, 400, "bad_data", "label name"},
		{"admin/tsdb/delete_series", nil, 404, "not_found", "delete_series"},
	} {
		status, got := call(t, h, http.MethodPost, "/api/v1/"+c.path, c.form)
		text, _ := got["error"].(string)
		if status != c.status || got["status"] != "error" || got["errorType"] != c.kind || !strings.Contains(text, c.text) {
			t.Errorf("%s %v: status %d, %v; want %d %s about %s", c.path, c.form, status, got, c.status, c.kind, c.text)
		}
	}
}

func TestAStoreThatIsNotOpenAnswersUnavailable(t *testing.T) {
	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: t.TempDir()})
	status, got := call(t, s.Handler(), http.MethodGet, "/api/v1/query", url.Values{"query": {"up"}})
	if status != http.StatusServiceUnavailable || got["errorType"] != "unavailable" {
		t.Fatalf("status %d, %v", status, got)
	}
}

// slowReader takes an answer only after the store has been closed.
type slowReader struct {
	*httptest.ResponseRecorder
	closeStore func() error
}

func (r slowReader) Write(data []byte) (int, error) {
	closed := make(chan error, 1)
	go func() { closed <- r.closeStore() }()
	select {
	case err := <-closed:
		if err != nil {
			return 0, err
		}
	case <-time.After(5 * time.Second):
		return 0, errors.New("the store waits for its reader")
	}
	return r.ResponseRecorder.Write(data)
}

func TestAReaderThatTakesItsTimeDoesNotHoldTheStore(t *testing.T) {
	for _, query := range []string{"up", "sum("} {
		s := stored(t)
		w := slowReader{httptest.NewRecorder(), s.Close}
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/query?"+url.Values{"query": {query}, "time": {stamp(0)}}.Encode(), nil))
		if !strings.Contains(w.Body.String(), `"status":`) {
			t.Errorf("%s: answered %q", query, w.Body)
		}
	}
}
