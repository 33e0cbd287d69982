package dashboards_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fake is a Grafana in memory. It is strict: what it does not know is a failure of the test.
type fake struct {
	t *testing.T

	mu sync.Mutex
	// answers are refusals by "METHOD path"; 0 hangs up.
	refuse     map[string]int
	folders    map[string]string // title by uid
	dashboards map[string]map[string]any
	messages   map[string]string
	inFolder   map[string]string
	source     map[string]any
	secrets    map[string]any
	paged      bool // versions as Grafana 11 answers them
	writes     []string
}

const fakeToken = "glsa_0123456789abcdef"

func newFake(t *testing.T) (*fake, string) {
	f := &fake{
		t: t, refuse: map[string]int{}, folders: map[string]string{}, dashboards: map[string]map[string]any{},
		messages: map[string]string{}, inFolder: map[string]string{},
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.URL.Path == "/api/health" && f.refuse["GET /api/health"] == 0 {
		answer(w, 200, map[string]any{"database": "ok", "version": "9.4.0"})
		return
	}
	if status, refused := f.refuse[r.Method+" "+r.URL.Path]; refused {
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		answer(w, status, map[string]any{"message": "no " + http.StatusText(status)})
		return
	}
	if got := r.Header.Get("Authorization"); got != "Bearer "+fakeToken {
		answer(w, 401, map[string]any{"message": "Unauthorized"})
		return
	}
	var body map[string]any
	if r.Method != http.MethodGet {
		f.writes = append(f.writes, r.Method+" "+r.URL.Path)
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			f.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
	}
	status, out := f.serve(r, body)
	answer(w, status, out)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) serve(r *http.Request, body map[string]any) (int, any) {
	missing := map[string]any{"message": "not found"}
	path := r.URL.Path
	switch r.Method + " " + path {
	case "GET /api/datasources/uid/kemi":
		if f.source == nil {
			return 404, missing
		}
		return 200, f.source
	case "POST /api/datasources", "PUT /api/datasources/uid/kemi":
		f.source, f.secrets = body, body["secureJsonData"].(map[string]any)
		set := map[string]any{}
		for name := range f.secrets {
			set[name] = true
		}
		delete(body, "secureJsonData")
		body["secureJsonFields"] = set
		return 200, map[string]any{"id": 1, "message": "ok"}
	case "GET /api/folders":
		all := []any{}
		for uid, title := range f.folders {
			all = append(all, map[string]any{"uid": uid, "title": title})
		}
		return 200, all
	case "POST /api/folders":
		uid := body["uid"].(string)
		f.folders[uid] = body["title"].(string)
		return 200, map[string]any{"uid": uid, "title": f.folders[uid]}
	case "POST /api/dashboards/db":
		return f.save(body)
	}
	if uid, ok := strings.CutPrefix(path, "/api/folders/"); ok && r.Method == http.MethodGet {
		if title, there := f.folders[uid]; there {
			return 200, map[string]any{"uid": uid, "title": title}
		}
		return 404, missing
	}
	if uid, ok := strings.CutPrefix(path, "/api/dashboards/uid/"); ok && r.Method == http.MethodGet {
		uid, versions := strings.CutSuffix(uid, "/versions")
		d := f.dashboards[uid]
		switch {
		case d == nil:
			return 404, missing
		case versions && f.paged:
			return 200, map[string]any{"versions": []any{map[string]any{"message": f.messages[uid]}}}
		case versions:
			return 200, []any{map[string]any{"message": f.messages[uid]}}
		}
		return 200, map[string]any{"dashboard": d, "meta": map[string]any{"folderUid": f.inFolder[uid]}}
	}
	f.t.Errorf("unexpected %s %s", r.Method, r.URL)
	return 500, missing
}

func (f *fake) save(body map[string]any) (int, any) {
	d := body["dashboard"].(map[string]any)
	uid := d["uid"].(string)
	version := 0.0
	if old := f.dashboards[uid]; old != nil {
		version = old["version"].(float64)
		if d["version"] != version && body["overwrite"] != true {
			return 412, map[string]any{"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
		}
	}
	d["version"], d["id"] = version+1, 7.0
	f.dashboards[uid], f.messages[uid], f.inFolder[uid] = d, body["message"].(string), body["folderUid"].(string)
	return 200, map[string]any{"uid": uid, "version": version + 1, "url": "/d/" + uid}
}

// edit is what a person does in the browser.
func (f *fake) edit(uid string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dashboards[uid]["title"] = "mine"
	f.dashboards[uid]["version"] = f.dashboards[uid]["version"].(float64) + 1
	f.messages[uid] = "nicer"
}
