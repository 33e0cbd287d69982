package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/bus/mem"
	"kemi.dev/kemi/cmd/kemi/api"
	"kemi.dev/kemi/cmd/kemi/view"
	"kemi.dev/kemi/internal/obs"
	"kemi.dev/kemi/internal/web"
)

// vague is a broker that does not count what it has.
type vague struct{ *mem.Driver }

func (v vague) Inspect(_ context.Context, topic string) (driver.Info, error) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	return driver.Info{
		Topic: driver.Topic{Name: topic, Partitions: 2, MaxBytes: 1000}, Bytes: -1,
		Partitions: []driver.PartitionInfo{
			{Partition: 1, First: 5, End: 9, Records: 4, Oldest: at.Add(time.Hour)}, {Partition: 0, First: 1, End: 3, Records: -1, Oldest: at},
		},
		Groups: []driver.GroupInfo{
			{Name: "z", Partitions: []driver.GroupPartition{{Partition: 1, Owner: "b", Epoch: 7, Next: 9}, {Partition: 0, Lag: 2, Next: 1}}},
			{Name: "a", Partitions: []driver.GroupPartition{{Partition: -1, Lag: 3, Next: 4}}},
		},
	}, nil
}

func over(t *testing.T, d driver.Driver) (*bus.Bus, http.Handler) {
	t.Helper()
	b := bus.New(d, bus.Settings{}, obs.Scope{})
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, api.New(b, view.New(b), func() any { return nil })
}

func ask(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, api.Prefix+path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestATopicIsShownAsTheBrokerKnowsIt(t *testing.T) {
	_, h := over(t, vague{mem.New()})
	code, body := ask(h, "GET", "/topics/readings.v1", "")
	var got api.Topic
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
		t.Fatal(code, body, err)
	}
	if got.Records != -1 || got.Bytes != -1 || got.LimitBytes != 1000 || got.DropsOldest || got.Partitions != 2 || got.Oldest.Hour() != 10 || got.KeepSeconds != 21600 {
		t.Errorf("%+v", got)
	}
	if len(got.Parts) != 2 || got.Parts[0].Partition != 0 || got.Parts[1].End != 9 {
		t.Errorf("partitions %+v", got.Parts)
	}
	if len(got.Groups) != 2 || got.Groups[0].Name != "a" || got.Groups[0].Lag != 3 || got.Groups[1].Lag != 2 || got.Groups[1].Parts[1].Owner != "b" || got.Groups[1].Parts[1].Epoch != 7 {
		t.Errorf("groups %+v", got.Groups)
	}
}

// silent is a broker that cannot be asked.
type silent struct{ driver.Driver }

func TestABrokerThatCannotBeAskedIsSaidSo(t *testing.T) {
	_, h := over(t, silent{mem.New()})
	if code, body := ask(h, "GET", "/topics/readings.v1", ""); code != 503 || !strings.Contains(body, "this broker does not say") {
		t.Errorf("%d %s", code, body)
	}
	if code, body := ask(h, "GET", "/topics", ""); code != 200 || strings.Count(body, "this broker does not say") != 13 || !strings.Contains(body, `"records": -1`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestABusThatIsAwayIsAnsweredAtOnce(t *testing.T) {
	b, h := over(t, mem.New())
	b.Close()
	for path, body := range map[string]string{
		"GET /topics": "", "GET /topics/readings.v1": "", "GET /topics/readings.v1/tail": "", "GET /topics/readings.v1/events?from=1h": "",
		"POST /topics/readings.v1/replay": `{"from":"1h","into":"readings.v1","yes":true}`, "GET /dead": "", "GET /dead/1": "",
		"POST /dead/retry": `{"all":true}`, "POST /dead/drop": `{"ids":[1]}`,
	} {
		method, path, _ := strings.Cut(path, " ")
		if code, said := ask(h, method, path, body); code != 503 || !strings.Contains(said, "the bus is away") {
			t.Errorf("%s: %d %s", path, code, said)
		}
	}
}

func TestWhatIsPostedWrongIsAnsweredInWordsAndNothingHappens(t *testing.T) {
	b, h := over(t, mem.New())
	for _, c := range []struct {
		path, body, want string
		code             int
	}{
		{"/dead/retry", `{}`, "name letters by ids, or say all", 400},
		{"/dead/retry", `{"ids":[1],"all":true}`, "one of both", 400},
		{"/dead/drop", `{"ids":[1],"topic":"alerts.v1"}`, "a filter goes with all", 400},
		{"/dead/drop", `{"all":true,"topic":"alert.v1"}`, "did you mean alerts.v1", 400},
		{"/dead/drop", `{"all":true,"since":"soon"}`, "is no time", 400},
		{"/dead/drop", `{"every":true}`, "unknown field", 400},
		{"/dead/drop", `all`, "read which letters", 400},
		{"/topics/readings.v1/replay", `{"from":"1h","into":"readings.v1"}`, "say yes to that", 400},
		{"/topics/readings.v1/replay", `{"into":"readings.v1","yes":true}`, "from is missing", 400},
		{"/topics/readings.v1/replay", `{"from":"1h"}`, "into is missing: name the topic", 400},
		{"/topics/alerts.v1/replay", `{"from":"1h","into":"alerts.v1","yes":true}`, "what is over would be there again", 400},
		{"/topics/alert.v1/replay", `{"from":"1h","into":"alerts.v1","yes":true}`, "did you mean alerts.v1", 404},
		{"/topics/readings.v1/replay", `hello`, "read replay", 400},
	} {
		if code, said := ask(h, "POST", c.path, c.body); code != c.code || !strings.Contains(said, c.want) {
			t.Errorf("%s %s: %d %s", c.path, c.body, code, said)
		}
	}
	for path, want := range map[string]string{
		"/dead/x": "which is a number", "/dead?colour=red": "unknown parameter", "/dead?limit=0": "limit=", "/dead?topic=alert.v1": "did you mean",
		"/topics?colour=red": "unknown parameter", "/topics/readings.v1/events": "from is missing", "/topics/readings.v1/tail?to=1h": "unknown parameter",
		"/topics/readings.v1/tail?limit=none": "limit=", "/dead?done=maybe": `done=\"maybe\": write true or false`,
		"/topics/readings.v1/tail?from=2999-01-01T00:00:00Z": "from, 2999-01-01T00:00:00Z, is still to come",
		"/topics/readings.v1/tail?from=0/999999":             "from=0/999999 is still to come: the next event there will be 0/",
		"/topics/readings.v1/events?from=0/999999":           "is still to come",
		"/targets?state=bogus":                               `state=\"bogus\" is none of targets: use up, down, unknown, waiting`,
		"/alerts?state=bogus":                                "use firing, resolved", "/incidents?state=closed": "use verifying, open, resolved",
		"/pages?state=failing": "use intent, retrying, sent, failed, held",
	} {
		if code, said := ask(h, "GET", path, ""); code != 400 || !strings.Contains(said, want) {
			t.Errorf("%s: %d %s", path, code, said)
		}
	}
	if _, total, err := b.Letters(t.Context(), bus.LetterFilter{Done: true}, 0); total != 0 || err != nil {
		t.Error(total, err)
	}
}

// What changes something needs the token that everything needs, and no page of another origin can do it.
func TestChangingTheBusNeedsAToken(t *testing.T) {
	b, h := over(t, mem.New())
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("ops 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := web.NewGuard(&web.Auth{TokensFile: tokens}, "", nil, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), event.ReadingFor(&event.Job{Target: "core-1"})); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"/dead/retry": `{"all":true}`, "/dead/drop": `{"all":true}`, "/topics/readings.v1/replay": `{"from":"beginning","into":"readings.v1","yes":true}`,
	} {
		for want, headers := range map[int][]string{
			401: {}, 403: {"Authorization", "Bearer 0123456789abcdef", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 200: {"Authorization", "Bearer 0123456789abcdef"},
		} {
			r := httptest.NewRequest("POST", "http://127.0.0.1:7070"+api.Prefix+path, strings.NewReader(body))
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			guard.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s with %v: %d %s", path, headers, w.Code, w.Body)
			}
		}
	}
}
