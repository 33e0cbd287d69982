package http

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/internal/conf"
)

func page() *event.Page {
	began := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	i := &event.Incident{
		ID: "i1", Kind: event.IncidentDown, State: event.IncidentOpen, Team: "net", Cause: "core-1", Severity: "critical", OpenedAt: began,
		Title:  "core-1 (core) is down: \"quoted\"\n& <b>",
		Alerts: []event.IncidentAlert{{Name: "TargetDown", Target: "core-1", State: event.AlertFiring, StartsAt: began, Summary: `back\slash`}},
	}
	return &event.Page{ID: "p1", Incident: "i1", Team: "net", Receiver: "kakao", Kind: event.PageFiring, DedupKey: "k1", Title: i.Title, Snapshot: i, Created: began.Add(5 * time.Second)}
}

// receiver is made from YAML as people write it.
func receiver(t *testing.T, yaml string, env notify.Env) notify.Notifier {
	t.Helper()
	nodes, problems := conf.Parse("kemi.yaml", []byte(yaml))
	c := Default()
	if problems = append(problems, nodes[0].Into(&c)...); len(problems) > 0 {
		t.Fatal(problems)
	}
	n, err := New("kakao", c, env)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// talk is a strict fake of a chat's API of the kind that Kakao's message API is: a bearer token, a form with JSON in one
// field, texts of at most 200 characters, and an answer with a code inside.
// Source: developers.kakao.com, Kakao Talk Message, REST API, send default template to me.
func talk(t *testing.T) (address string, said func() string) {
	t.Helper()
	var last string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := func(status, code int, text string) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"code": %d, "msg": %q}`, code, text)
		}
		var template struct {
			ObjectType string `json:"object_type"`
			Text       string `json:"text"`
			Link       struct {
				WebURL string `json:"web_url"`
			} `json:"link"`
		}
		dec := json.NewDecoder(strings.NewReader(r.PostFormValue("template_object")))
		dec.DisallowUnknownFields()
		err := dec.Decode(&template)
		switch {
		case r.Method != "POST" || r.URL.Path != "/v2/api/talk/memo/default/send":
			answer(404, -404, "no such api")
		case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded"):
			answer(400, -2, "content type")
		case r.Header.Get("Authorization") != "Bearer t0ken":
			answer(401, -401, "this access token does not exist")
		case err != nil, template.ObjectType != "text", template.Text == "", utf8.RuneCountInString(template.Text) > 200:
			answer(400, -2, "template_object")
		case r.PostForm.Has("full"):
			answer(200, -10, "limit has been exceeded")
		case r.PostForm.Has("stranger"):
			answer(200, -402, "insufficient scopes")
		default:
			last = template.Text + " " + template.Link.WebURL
			_, _ = io.WriteString(w, `{"result_code": 0}`)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v2/api/talk/memo/default/send", func() string { return last }
}

const kakao = `
url: %q
bearer_token: t0ken
form:
  template_object: '{"object_type": "text", "text": {{ cut 200 .Plain | json }}, "link": {"web_url": {{ .Link "incident" | json }}}}'
  %s
expect: {json: result_code, equals: 0}
`

func TestAChatOfOnesOwnIsTold(t *testing.T) {
	address, said := talk(t)
	n := receiver(t, fmt.Sprintf(kakao, address, ""), notify.Env{ExternalURL: "https://kemi.example"})
	answer, err := n.Notify(t.Context(), page())
	if err != nil || answer != `200 OK {"result_code": 0}` {
		t.Fatalf("got %q, %v", answer, err)
	}
	if got := said(); !strings.HasPrefix(got, `core-1 (core) is down: "quoted" & <b>`) || !strings.HasSuffix(got, "https://kemi.example/incidents/i1") {
		t.Errorf("said is %q", got)
	}
	for more, want := range map[string]string{"full: x": "it has no result_code", "stranger: x": "it has no result_code"} {
		answer, err := receiver(t, fmt.Sprintf(kakao, address, more), notify.Env{}).Notify(t.Context(), page())
		if err == nil || notify.IsPermanent(err) || !strings.Contains(err.Error(), want) || !strings.HasPrefix(answer, "200 OK") {
			t.Errorf("%s: an error inside a 200 is %v", more, err)
		}
	}
}

func TestEveryFormOfARequest(t *testing.T) {
	type request struct {
		Method, Path, Kind, Key string
		Query, Form             url.Values
		Body                    string
	}
	var got request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = request{Method: r.Method, Path: r.URL.Path, Kind: r.Header.Get("Content-Type"), Key: r.Header.Get("Idempotency-Key"), Query: r.URL.Query(), Body: string(body)}
	}))
	defer srv.Close()
	title := "core-1 (core) is down: \"quoted\" & <b>"
	for name, c := range map[string]struct {
		yaml string
		want request
	}{
		"json": {
			`json: {text: "{{ .Title }}", n: 3, yes: true, list: ["{{ .Page.Kind }}", 1.5, null], deep: {id: "{{ .Incident.ID }}"}}`,
			request{Method: "POST", Kind: "application/json", Body: `{"deep":{"id":"i1"},"list":["firing",1.5,null],"n":3,"text":"core-1 (core) is down: \"quoted\" \u0026 \u003cb\u003e","yes":true}`},
		},
		"form":  {`form: {a: "{{ .Title }}", b: "1&2"}`, request{Method: "POST", Kind: "application/x-www-form-urlencoded", Body: url.Values{"a": {title}, "b": {"1&2"}}.Encode()}},
		"query": {"method: GET\nquery: {text: \"{{ .Title }}\"}", request{Method: "GET", Query: url.Values{"key": {"T0KEN"}, "text": {title}}}},
		"text":  {`body: "{{ .Title }}!"`, request{Method: "POST", Kind: "text/plain; charset=utf-8", Body: title + "!"}},
		"body": {
			"method: PUT\ncontent_type: application/vnd.x+json\nbody: '{\"t\": {{ json .Title }}}'",
			request{Method: "PUT", Kind: "application/vnd.x+json", Body: `{"t": "core-1 (core) is down: \"quoted\" & <b>"}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := receiver(t, fmt.Sprintf("url: %q\n", srv.URL+"/in?key=T0KEN")+c.yaml, notify.Env{}).Notify(t.Context(), page()); err != nil {
				t.Fatal(err)
			}
			c.want.Path, c.want.Key = "/in", "p1"
			if c.want.Query == nil {
				c.want.Query = url.Values{"key": {"T0KEN"}}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// The page goes out with plain words in the place of the template, and the ledger's line says so.
func TestATemplateThatFailsIsReplacedAndTold(t *testing.T) {
	var body string
	status := 200
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all, _ := io.ReadAll(r.Body)
		body = string(all)
		w.WriteHeader(status)
	}))
	defer srv.Close()
	const bad = `{{ if eq .Page.ID "p1" }}{{ index .Incident.Alerts 7 }}{{ end }}`
	for name, yaml := range map[string]string{
		"json":     `json: {room: ops, text: '` + bad + `'}`,
		"body":     `body: '` + bad + `'`,
		"jsonbody": "content_type: application/json\nbody: '" + `{"t": "{{ .Title }}"}` + "'",
		"form":     `form: {text: '` + bad + `'}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := receiver(t, fmt.Sprintf("url: %q\n", srv.URL)+yaml, notify.Env{})
			status = 200
			answer, err := n.Notify(t.Context(), page())
			if err != nil || !strings.HasPrefix(answer, "200 OK (A template of the receiver kakao failed") {
				t.Errorf("got %q, %v", answer, err)
			}
			shown, _ := url.QueryUnescape(body)
			if !strings.Contains(shown, "core-1 (core) is down") || !strings.Contains(shown, "A template of the receiver kakao failed") {
				t.Errorf("sent %s", body)
			}
			if strings.HasPrefix(name, "json") && !json.Valid([]byte(body)) {
				t.Errorf("sent what is no JSON: %s", body)
			}
			status = 400
			if _, err := n.Notify(t.Context(), page()); !notify.IsPermanent(err) || !strings.Contains(err.Error(), "A template of the receiver kakao failed") {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

func TestAPersonIsToldAtTheirHandleOrNotAtAll(t *testing.T) {
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		all, _ := io.ReadAll(r.Body)
		body = string(all)
	}))
	defer srv.Close()
	env := notify.Env{Contact: func(person string) (notify.Contact, bool) {
		return notify.Contact{Name: "Jo", Handles: map[string]conf.Secret{map[string]string{"jo": "kakao", "sun": "http", "lee": "slack"}[person]: conf.NewSecret("U-" + person)}}, person != "gone"
	}}
	n := receiver(t, fmt.Sprintf(`{url: %q, json: {to: "{{ default \"room\" .Handle }}"}}`, srv.URL), env)
	for person, want := range map[string]string{"jo": `{"to":"U-jo"}`, "sun": `{"to":"U-sun"}`, "": `{"to":"room"}`} {
		p := page()
		p.Person = person
		if _, err := n.Notify(t.Context(), p); err != nil || body != want {
			t.Errorf("%q: sent %s, %v", person, body, err)
		}
	}
	for _, person := range []string{"lee", "gone"} {
		p := page()
		p.Person = person
		if _, err := n.Notify(t.Context(), p); !notify.IsPermanent(err) || !strings.Contains(err.Error(), person) {
			t.Errorf("%q: %v", person, err)
		}
	}
}

func TestFoldingIsAsConfigured(t *testing.T) {
	for yaml, want := range map[string]bool{"": false, "folds: true": true} {
		if got := receiver(t, "url: http://x/\nbody: x\n"+yaml, notify.Env{}).Dedups(); got != want {
			t.Errorf("%q: %v", yaml, got)
		}
	}
}

func TestSettingsThatCannotWorkAreFound(t *testing.T) {
	for yaml, want := range map[string]string{
		`{url: "http://x/"}`:                                   "nothing says what to send",
		`{url: "http://x/", json: {}, body: x}`:                "more than one body",
		`{url: "http://x/", method: DELETE, body: x}`:          `"DELETE"`,
		`{url: "http://x/", method: GET, body: x}`:             "a GET has no body",
		`{url: "http://x/", json: {a: ["{{ .Titel }}"]}}`:      "json.a.0",
		`{url: "http://x/", form: {a: "{{ .Titel }}"}}`:        "Titel",
		`{url: "http://x/", query: {a: "{{"}}`:                 "unclosed action",
		`{url: "http://x/", body: x, content_type: "a b"}`:     "no type of a body",
		`{url: "http://x/", form: {a: x}, content_type: a/b}`:  "only body has a type",
		`{url: "http://x/", body: x, expect: {status: [301]}}`: "no status that a page can end with",
		`{url: "http://x/", body: x, expct: {}}`:               `did you mean "expect"?`,
		`{body: x}`:                                            "there is no url",
	} {
		nodes, _ := conf.Parse("kemi.yaml", []byte(yaml))
		c := Default()
		if problems := nodes[0].Into(&c); len(problems) != 1 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%s: %v; want %q", yaml, problems, want)
		}
	}
}
