package dashboards_test

import (
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
)

// TestIntegrationGrafanaDrawsEveryPanel pushes the dashboards and opens each with an hour of a fleet behind it.
func TestIntegrationGrafanaDrawsEveryPanel(t *testing.T) {
	needIntegration(t)
	home := unpackGrafana(t)
	config := dashboards.Default()
	config.URL = startGrafana(t, home, t.TempDir())
	config.User, config.Password = "admin", conf.NewSecret("admin")
	config.KemiURL = serveSite(t)
	ds := generate(t)
	results, err := dashboards.Push(t.Context(), config, ds, dashboards.PushOptions{})
	if err != nil {
		t.Fatalf("%v %v", results, err)
	}
	variables := map[string]string{
		dashboards.NetworkDeviceUID: "&var-target=core-1", dashboards.HostUID: "&var-target=server-2",
	}
	for _, d := range ds {
		t.Run(d.UID, func(t *testing.T) {
			dom := browse(t, config.URL+"/d/"+d.UID+"/x?orgId=1&kiosk"+variables[d.UID], d.UID, 4200)
			if dir := os.Getenv("KEMI_SCREENSHOTS"); dir != "" {
				_ = os.WriteFile(filepath.Join(dir, d.UID+".html"), []byte(dom), 0o644)
			}
			for _, title := range titles(t, d) {
				if !strings.Contains(dom, `Panel header `+html.EscapeString(title)+`"`) {
					t.Errorf("panel %q is not drawn", title)
				}
			}
			for _, bad := range []string{"No data", "Panel status error", "panel-info-corner--error", "Panel header error", "Panel loading bar", "An unexpected error"} {
				if n := strings.Count(dom, bad); n > 0 {
					t.Errorf("the page says %q %d times", bad, n)
				}
			}
		})
	}
}

func titles(t *testing.T, d dashboards.Dashboard) []string {
	t.Helper()
	var b struct {
		Panels []struct{ Type, Title string }
	}
	if err := json.Unmarshal(d.JSON(), &b); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range b.Panels {
		if p.Type != "row" {
			all = append(all, p.Title)
		}
	}
	return all
}
