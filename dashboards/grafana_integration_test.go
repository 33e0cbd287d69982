package dashboards_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
	"kemi.dev/kemi/internal/web"
)

// TestIntegrationGrafana pushes the dashboards into a real Grafana and opens each with an hour of a fleet behind it.
func TestIntegrationGrafana(t *testing.T) {
	needIntegration(t)
	home := unpackGrafana(t)
	config := dashboards.Default()
	config.URL = startGrafana(t, home, t.TempDir(), "cfg:auth.anonymous.org_role=Editor")
	config.Token = serviceAccount(t, config.URL)
	config.KemiURL = serveSite(t, nil)
	ds := generate(t)
	push := func(opts dashboards.PushOptions) ([]string, error) {
		results, err := dashboards.Push(t.Context(), config, ds, opts)
		return actions(results), err
	}
	ok := t.Run("is pushed once", func(t *testing.T) {
		for _, want := range []dashboards.Action{dashboards.Created, dashboards.Unchanged} {
			got, err := push(dashboards.PushOptions{})
			if diff := cmp.Diff(allOf(want), got); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
		}
		for _, d := range ds {
			read := admin(t, config.URL, http.MethodGet, "/api/dashboards/uid/"+d.UID, nil)
			board, meta := read["dashboard"].(map[string]any), read["meta"].(map[string]any)
			if board["title"] != d.Title || board["version"] != 1.0 || meta["folderTitle"] != "Kemi" {
				t.Errorf("%s reads back as %v version %v in %v", d.UID, board["title"], board["version"], meta["folderTitle"])
			}
		}
	})
	if !ok {
		return
	}
	for _, d := range ds {
		t.Run("draws "+d.UID, func(t *testing.T) {
			target := map[string]string{dashboards.NetworkDeviceUID: "&var-target=core-1", dashboards.HostUID: "&var-target=server-2"}[d.UID]
			dom := browse(t, config.URL+"/d/"+d.UID+"/x?orgId=1&kiosk"+target, d.UID, 4200)
			for _, title := range titles(t, d) {
				if !strings.Contains(dom, `Panel header `+html.EscapeString(title)+`"`) {
					t.Errorf("panel %q is not drawn", title)
				}
			}
			if bad := complaints(dom); len(bad) > 0 {
				t.Errorf("the page complains: %v", bad)
			}
		})
	}
	t.Run("offers the targets by itself", func(t *testing.T) {
		// Without a target in the address Grafana takes the first that the variable's query finds.
		dom := browse(t, config.URL+"/d/"+dashboards.NetworkDeviceUID+"/x?orgId=1", "device-first", 1500)
		if bad := complaints(dom); len(bad) > 0 || !strings.Contains(dom, ">access-01<") || strings.Contains(dom, ">server-1<") {
			t.Errorf("the first network device is not chosen: %v", bad)
		}
	})
	t.Run("shows what cannot be drawn", func(t *testing.T) { // Or else the test above could not fail.
		board := func(uid, expr string) {
			panel := map[string]any{
				"id": 1, "type": "timeseries", "title": "x", "gridPos": map[string]int{"w": 12, "h": 8}, "datasource": map[string]string{"type": "prometheus", "uid": "kemi"},
				"targets": []any{map[string]any{"refId": "A", "expr": expr}},
			}
			admin(t, config.URL, http.MethodPost, "/api/dashboards/db", map[string]any{
				"dashboard": map[string]any{"uid": uid, "title": uid, "panels": []any{panel}, "schemaVersion": 37},
			})
		}
		board("nothing", "no_such_metric")
		board("wrong", "rate(up")
		for _, uid := range []string{"nothing", "wrong"} {
			if bad := complaints(browse(t, config.URL+"/d/"+uid+"/x?orgId=1&kiosk", uid, 800)); len(bad) == 0 {
				t.Errorf("the page of %s does not complain", uid)
			}
		}
	})
	t.Run("keeps what a person saves", func(t *testing.T) {
		read := admin(t, config.URL, http.MethodGet, "/api/dashboards/uid/"+dashboards.FleetUID, nil)
		board := read["dashboard"].(map[string]any)
		board["title"] = "My fleet"
		admin(t, config.URL, http.MethodPost, "/api/dashboards/db", map[string]any{
			"dashboard": board, "folderUid": read["meta"].(map[string]any)["folderUid"],
		})
		want := allOf(dashboards.Unchanged)
		for _, step := range []struct {
			overwrite bool
			action    string
		}{{false, "kept"}, {true, "updated"}, {false, "unchanged"}} {
			got, err := push(dashboards.PushOptions{Overwrite: step.overwrite})
			want[2] = "dashboard kemi-fleet " + step.action
			if diff := cmp.Diff(want, got); diff != "" || errors.Is(err, dashboards.ErrKept) != (step.action == "kept") {
				t.Error(err, diff)
			}
		}
	})
	t.Run("replaces what an older push saved", func(t *testing.T) {
		older, err := dashboards.Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, ds := range [][]dashboards.Dashboard{older, ds[:1]} {
			results, err := dashboards.Push(t.Context(), config, ds, dashboards.PushOptions{})
			if err != nil || results[2].Action != dashboards.Updated {
				t.Error(err, results)
			}
		}
	})
	t.Run("refuses a wrong token", func(t *testing.T) {
		wrong := config
		wrong.Token = conf.NewSecret("glsa_wrong")
		_, err := dashboards.Push(t.Context(), wrong, ds, dashboards.PushOptions{})
		var status *dashboards.StatusError
		if !errors.As(err, &status) || status.Status != http.StatusUnauthorized {
			t.Error(err)
		}
	})
	t.Run("the data source follows", func(t *testing.T) {
		moved := config
		moved.KemiURL, moved.KemiToken = "http://127.0.0.1:1", conf.NewSecret("0123456789abcdef")
		for _, want := range []dashboards.Action{dashboards.Updated, dashboards.Unchanged} {
			results, err := dashboards.Push(t.Context(), moved, nil, dashboards.PushOptions{})
			if err != nil || results[0].Action != want {
				t.Errorf("%v %v, want %s", err, results, want)
			}
		}
	})
}

// TestIntegrationGrafanaReadsTheFiles starts a Grafana that is provisioned with what Write made.
func TestIntegrationGrafanaReadsTheFiles(t *testing.T) {
	needIntegration(t)
	home := unpackGrafana(t)
	dir := t.TempDir()
	ds := generate(t)
	// This Kemi asks for a token; Grafana reads it from a file, the address from its environment.
	secrets := t.TempDir()
	opts := dashboards.WriteOptions{KemiURL: "$KEMI_URL", TokenFile: filepath.Join(secrets, "token")}
	tokens := web.Auth{TokensFile: filepath.Join(secrets, "tokens")}
	for path, text := range map[string]string{opts.TokenFile: "0123456789abcdef", tokens.TokensFile: "grafana 0123456789abcdef\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KEMI_URL", serveSite(t, &tokens))
	if _, err := dashboards.Write(dir, ds, opts); err != nil {
		t.Fatal(err)
	}
	config := dashboards.Default()
	config.URL = startGrafana(t, home, dir)
	config.User, config.Password = "admin", conf.NewSecret("admin")
	for _, d := range ds {
		// This Grafana answers before it has read the files, and with an error while it does.
		eventually(t, "Grafana reads "+d.UID, func() bool {
			resp, err := http.Get(config.URL + "/api/dashboards/uid/" + d.UID)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
		read := admin(t, config.URL, http.MethodGet, "/api/dashboards/uid/"+d.UID, nil)
		if meta, _ := read["meta"].(map[string]any); meta["provisioned"] != true || meta["folderTitle"] != "Kemi" {
			t.Errorf("%s is there as %v", d.UID, meta)
		}
	}
	if bad := complaints(browse(t, config.URL+"/d/"+dashboards.FleetUID+"/x?orgId=1&kiosk", "provisioned", 2000)); len(bad) > 0 {
		t.Errorf("the page complains: %v", bad)
	}
	// A push beside the files does not fight with them.
	older, err := dashboards.Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	results, err := dashboards.Push(t.Context(), config, older, dashboards.PushOptions{Overwrite: true})
	if !errors.Is(err, dashboards.ErrKept) || !strings.Contains(err.Error(), "kemi dashboards write") {
		t.Error(err, results)
	}
}

// complaints are what Grafana shows when a panel has no data or an error.
func complaints(dom string) []string {
	var all []string
	for _, bad := range []string{"No data", "Panel status error", "panel-info-corner--error", "Panel loading bar", "An unexpected error", "Datasource named", "Data source not found"} {
		if n := strings.Count(dom, bad); n > 0 {
			all = append(all, fmt.Sprintf("%d times %q", n, bad))
		}
	}
	return all
}

func titles(t *testing.T, d dashboards.Dashboard) []string {
	t.Helper()
	var all []string
	for _, p := range parse(t, d).Panels {
		if p.Type != "row" {
			all = append(all, p.Title)
		}
	}
	return all
}

// serviceAccount makes an account for Push and returns its token.
func serviceAccount(t *testing.T, url string) conf.Secret {
	t.Helper()
	account := admin(t, url, http.MethodPost, "/api/serviceaccounts", map[string]any{"name": "kemi", "role": "Admin"})
	token := admin(t, url, http.MethodPost, fmt.Sprintf("/api/serviceaccounts/%v/tokens", account["id"]), map[string]any{"name": "push"})
	return conf.NewSecret(token["key"].(string))
}

// admin calls Grafana's API as its administrator.
func admin(t *testing.T, url, method, path string, body any) map[string]any {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", "admin")
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v %v", method, path, resp.Status, out, err)
	}
	return out
}
