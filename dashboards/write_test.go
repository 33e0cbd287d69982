package dashboards_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/dashboards"
)

// files reads everything below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWriteMakesAProvisioningFolder(t *testing.T) {
	dir := t.TempDir()
	changed, err := dashboards.Write(dir, generate(t), dashboards.WriteOptions{Mount: "/etc/grafana/provisioning", KemiURL: "$KEMI_URL", TokenFile: "/run/secrets/kemi"})
	if err != nil {
		t.Fatal(err)
	}
	got := files(t, dir)
	if len(changed) != 5 || len(got) != 5 {
		t.Fatalf("changed %v, there are %d files", changed, len(got))
	}
	for _, d := range generate(t) {
		if got["dashboards/kemi/"+d.UID+".json"] != string(d.JSON()) {
			t.Errorf("the file of %s is not the dashboard", d.UID)
		}
	}
	var provider struct {
		Providers []struct {
			Folder, Type string
			Options      struct{ Path string }
		}
	}
	if err := yaml.Unmarshal([]byte(got["dashboards/kemi.yaml"]), &provider); err != nil {
		t.Fatal(err)
	}
	if p := provider.Providers[0]; p.Folder != "Kemi" || p.Type != "file" || p.Options.Path != "/etc/grafana/provisioning/dashboards/kemi" {
		t.Errorf("provider %+v", p)
	}
	var sources struct {
		Datasources []struct {
			Name, UID, Type, URL string
			JSONData             map[string]string `yaml:"jsonData"`
			SecureJSONData       map[string]string `yaml:"secureJsonData"`
		}
	}
	if err := yaml.Unmarshal([]byte(got["datasources/kemi.yaml"]), &sources); err != nil {
		t.Fatal(err)
	}
	s := sources.Datasources[0]
	if s.Name != "kemi" || s.UID != "kemi" || s.Type != "prometheus" || s.URL != "$KEMI_URL" ||
		s.JSONData["httpHeaderName1"] != "Authorization" || s.SecureJSONData["httpHeaderValue1"] != "Bearer $__file{/run/secrets/kemi}" {
		t.Errorf("data source %+v", s)
	}
}

func TestWritingAgainTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []int{5, 0} {
		changed, err := dashboards.Write(dir, generate(t), dashboards.WriteOptions{})
		if err != nil || len(changed) != want {
			t.Errorf("write %d changed %v: %v", i+1, changed, err)
		}
	}
}

func TestWriteRemovesItsOwnStaleFilesOnly(t *testing.T) {
	dir := t.TempDir()
	ds := generate(t)
	if _, err := dashboards.Write(dir, ds, dashboards.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "dashboards", "kemi")
	foreign := map[string]string{
		"theirs.json": `{"uid":"theirs","tags":["kemi","generated"]}`, "kemi-copy.json": `{"uid":"kemi-copy","tags":["kemi"]}`,
		"notes.txt": "mine", "broken.json": "{",
	}
	for name, data := range foreign {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	changed, err := dashboards.Write(dir, ds[:1], dashboards.WriteOptions{})
	want := []string{filepath.Join(folder, "kemi-host.json"), filepath.Join(folder, "kemi-network-device.json")}
	if diff := cmp.Diff(want, changed); diff != "" || err != nil {
		t.Error(err, diff)
	}
	got := files(t, folder)
	for name, data := range foreign {
		if got[name] != data {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	if len(got) != len(foreign)+1 {
		t.Errorf("left are %d files", len(got))
	}
}

func TestWriteDoesNotReplaceWhatIsNotItsOwn(t *testing.T) {
	for _, name := range []string{"dashboards/kemi.yaml", "datasources/kemi.yaml", "dashboards/kemi/kemi-fleet.json"} {
		dir := t.TempDir()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("apiVersion: 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := dashboards.Write(dir, generate(t), dashboards.WriteOptions{})
		if err == nil || !strings.Contains(err.Error(), filepath.Base(path)+" was not written by kemi") {
			t.Errorf("%s: %v", name, err)
		}
		if got := files(t, dir); len(got) != 1 {
			t.Errorf("%s: something was written: %d files", name, len(got))
		}
	}
}
