package simulate

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// control sends one request to the fleet's control and returns code and body.
func control(f *Fleet, method, path, body string, change ...func(*http.Request)) (int, string) {
	r := httptest.NewRequest(method, "http://127.0.0.1:7071"+path, strings.NewReader(body))
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestControlListsDevicesAndStrikesThem(t *testing.T) {
	t.Parallel()
	spec := Spec{Cores: 1, Access: 3, Ports: 4, Servers: 1, Listen: testListen(t)}
	devices, err := Site(spec)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, Config{Listen: spec.Listen, Devices: devices})
	code, body := control(f, "POST", "/devices/access-01/faults", "slow 2s\n")
	if code != http.StatusOK || !strings.Contains(body, `"slow 2s"`) {
		t.Errorf("POST: %d %s", code, body)
	}
	if code, body = control(f, "POST", "/devices/access-*/faults", "port 2 down"); code != http.StatusOK || strings.Count(body, "port 2 down") != 3 {
		t.Errorf("POST to a pattern: %d %s", code, body)
	}
	if code, body = control(f, "POST", "/devices/class:core/faults", "down"); code != http.StatusOK {
		t.Errorf("POST to a class: %d %s", code, body)
	}
	var views []View
	code, body = control(f, "GET", "/devices", "")
	if err := json.Unmarshal([]byte(body), &views); code != http.StatusOK || err != nil || len(views) != 5 {
		t.Fatalf("GET: %d %s %v", code, body, err)
	}
	if v := views[0]; v.ID != "core-1" || v.Class != Core || v.State != "down" || len(v.Faults) != 1 || strings.HasSuffix(v.Address, ":0") {
		t.Errorf("core-1 is %+v", v)
	}
	if v := views[1]; v.State != "unreachable" || len(v.Faults) != 2 || v.Needs[0] != "core-1" {
		t.Errorf("access-01 is %+v", v)
	}
	var one View
	if code, body = control(f, "GET", "/devices/server-001", ""); code != http.StatusOK || json.Unmarshal([]byte(body), &one) != nil || one.ID != "server-001" || one.Faults == nil {
		t.Errorf("GET one: %d %s", code, body)
	}
	if code, body = control(f, "GET", "/stats", ""); code != http.StatusOK || !strings.Contains(body, `"requests":0`) {
		t.Errorf("GET /stats: %d %s", code, body)
	}
	if code, _ = control(f, "POST", "/devices/*/faults", "clear"); code != http.StatusOK {
		t.Errorf("POST clear: %d", code)
	}
	for _, v := range f.Views() {
		if v.State != "up" || len(v.Faults) != 0 {
			t.Errorf("after clear: %+v", v)
		}
	}
}

func TestControlRefusesBadRequestsWithAdvice(t *testing.T) {
	t.Parallel()
	f, err := New(Config{Listen: testListen(t), Devices: uniform(t, 2, Switch, 4)})
	if err != nil {
		t.Fatal(err)
	}
	origin := func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}
	host := func(r *http.Request) { r.Host = "rebound.example:7071" }
	for name, c := range map[string]struct {
		method, path, body string
		change             []func(*http.Request)
		code               int
		want               string
	}{
		"unknown device":   {"POST", "/devices/switch-3/faults", "down", nil, 404, `nothing matches`},
		"get unknown":      {"GET", "/devices/nobody", "", nil, 404, "GET /devices lists them all"},
		"unknown class":    {"POST", "/devices/class:router/faults", "down", nil, 422, "unknown device class"},
		"bad pattern":      {"POST", "/devices/%5B/faults", "down", nil, 422, "write it as access-*"},
		"unknown fault":    {"POST", "/devices/switch-1/faults", "dwon", nil, 400, `did you mean \"down\"`},
		"empty":            {"POST", "/devices/switch-1/faults", "", nil, 400, "empty fault"},
		"does not fit":     {"POST", "/devices/switch-1/faults", "port 9 down", nil, 422, "has 4 ports"},
		"too long":         {"POST", "/devices/switch-1/faults", strings.Repeat("x", 2000), nil, 413, "longer than 1024"},
		"method":           {"DELETE", "/devices/switch-1/faults", "", nil, 405, ""},
		"path":             {"GET", "/nothing", "", nil, 404, ""},
		"foreign page":     {"POST", "/devices/switch-1/faults", "down", []func(*http.Request){origin}, 403, "another origin"},
		"rebound name":     {"GET", "/devices", "", []func(*http.Request){host}, 403, "is not this machine's loopback"},
		"rebound and post": {"POST", "/devices/switch-1/faults", "down", []func(*http.Request){host}, 403, "use http://127.0.0.1"},
	} {
		code, body := control(f, c.method, c.path, c.body, c.change...)
		if code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s: %d %s; want %d and %q", name, code, body, c.code, c.want)
		}
	}
	for _, v := range f.Views() {
		if len(v.Faults) != 0 {
			t.Errorf("a refused request changed %+v", v)
		}
	}
	for _, h := range []string{"localhost:1", "[::1]:1", "127.3.2.1", "LOCALHOST"} {
		code, _ := control(f, "GET", "/devices", "", func(r *http.Request) { r.Host = h })
		if code != http.StatusOK {
			t.Errorf("host %s: %d", h, code)
		}
	}
}
