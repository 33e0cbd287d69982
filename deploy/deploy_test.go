package deploy_test

import (
	"flag"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/cmd/kemi/app"
	"kemi.dev/kemi/cmd/kemi/config"
	"kemi.dev/kemi/collector/snmp"
	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
)

var update = flag.Bool("update", false, "write the provisioned dashboards anew")

func TestTheExampleIsValid(t *testing.T) {
	for _, path := range []string{"example/kemi.yaml", "compose/kemi.yaml"} {
		cfg, problems := config.Load(path, false)
		// The token files of the containers are not here.
		problems = slices.DeleteFunc(problems, func(p conf.Problem) bool { return strings.Contains(p.What+p.Do, "/run/secrets/") })
		if len(problems) > 0 {
			t.Fatalf("%s: %v", path, problems.Err())
		}
		found := app.Check(t.Context(), cfg, time.Now())
		problems = slices.DeleteFunc(found.Problems, func(p conf.Problem) bool { return strings.Contains(p.What+p.Do, "/run/secrets/") })
		if len(problems) > 0 || found.Targets < 5 || found.Rules < 4 {
			t.Errorf("%s: %d targets, %d rules: %v", path, found.Targets, found.Rules, problems.Err())
		}
	}
}

// What is commented out in the example must be right, too.
func TestTheExamplesCommentedKeysAreValid(t *testing.T) {
	text, err := os.ReadFile("example/kemi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("example")); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"influx.token": "0123456789abcdef", "hook.token": "0123456789abcdef", "grafana.token": "0123456789abcdef", "tokens": "jo 0123456789abcdef",
		"nats.password": "0123456789abcdef",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	given := regexp.MustCompile(`(?m)^(listen|bus): .*\n`).ReplaceAllString(string(text), "")
	buses := regexp.MustCompile(`(?m)^# (bus: .*)$`).FindAllStringSubmatch(given, -1)
	commented := regexp.MustCompile(`(?m)^( *)# ((listen|auth|insecure|external_url|installation|network-hook|grafana|- influxdb|- \{name): ?.*)$`)
	if n := len(commented.FindAllString(given, -1)); n != 9 || len(buses) != 3 {
		t.Fatalf("found %d commented keys, %d of buses", n, len(buses))
	}
	path := filepath.Join(dir, "kemi.yaml")
	var cfg *config.Config
	for _, bus := range buses {
		if err := os.WriteFile(path, []byte(commented.ReplaceAllString(given, "$1$2")+bus[1]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var problems conf.Problems
		if cfg, problems = config.Load(path, false); len(problems) > 0 {
			t.Fatal(problems.Err())
		}
		if problems := app.Check(t.Context(), cfg, time.Now()).Problems; len(problems) > 0 {
			t.Error(problems.Err())
		}
	}
	if cfg.Listen != "0.0.0.0:7070" || cfg.Grafana == nil || cfg.Auth == nil || !cfg.Insecure {
		t.Errorf("not everything was read: %+v", cfg)
	}
}

func TestProvisionedDashboardsAreWhatIsGenerated(t *testing.T) {
	ds, err := dashboards.Generate(snmp.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	const committed = "compose/grafana/provisioning"
	dir := t.TempDir()
	if *update {
		dir = committed
	}
	_, err = dashboards.Write(dir, ds, dashboards.WriteOptions{
		Mount: "/etc/grafana/provisioning", KemiURL: "http://kemi:7070", TokenFile: "/run/secrets/kemi_grafana",
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tree(t, dir), tree(t, committed)); diff != "" {
		t.Errorf("run go test ./deploy -run Provisioned -update:\n%s", diff)
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// compose is what the test looks at.
type compose struct {
	Services map[string]struct {
		Image       string
		Hostname    string
		Command     []string
		Ports       []string
		Volumes     []string
		Secrets     []string
		Environment map[string]string
		NetworkMode string   `yaml:"network_mode"`
		SecurityOpt []string `yaml:"security_opt"`
	}
	Secrets map[string]struct{ File string }
	Volumes map[string]any
}

func TestTheComposeFileIsSafe(t *testing.T) {
	data, err := os.ReadFile("compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("compose/make-secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kemi", "devices", "influxdb", "grafana"} {
		s, there := c.Services[name]
		if !there {
			t.Errorf("service %s is missing", name)
		}
		if image := s.Image; strings.HasSuffix(image, ":latest") || !strings.Contains(image, ":") && image != "${KEMI_IMAGE:-kemi:latest}" {
			t.Errorf("%s: the image %s is not pinned", name, image)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s publishes %s to the world", name, p)
			}
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may gain privileges", name)
		}
		for key, value := range s.Environment {
			if regexp.MustCompile(`(?i)password|token|secret`).MatchString(key) && !strings.HasPrefix(value, "/run/secrets/") {
				t.Errorf("%s: %s is not a file", name, key)
			}
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File != "./secrets/"+secret || !strings.Contains(string(script), strings.TrimPrefix(secret, "kemi_")) {
				t.Errorf("%s: nobody makes the secret %s", name, secret)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(from, "./") {
				if _, err := os.Stat(filepath.Join("compose", from)); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			} else if _, there := c.Volumes[from]; !there {
				t.Errorf("%s: volume %s is not declared", name, from)
			}
		}
	}
	// Grafana calls Kemi by its host name; the guard serves no other.
	var sources struct{ Datasources []struct{ URL string } }
	provisioned, err := os.ReadFile("compose/grafana/provisioning/datasources/kemi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(provisioned, &sources); err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(sources.Datasources[0].URL); err != nil || u.Hostname() != c.Services["kemi"].Hostname {
		t.Errorf("grafana asks %v (%v), kemi is %q", u, err, c.Services["kemi"].Hostname)
	}
	if c.Services["devices"].NetworkMode != "service:kemi" {
		t.Error("the devices' loopback addresses are not Kemi's")
	}
}

func TestSecretsAreMadeOnceAndFitTheirReaders(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	dir := t.TempDir()
	script, err := os.ReadFile("compose/make-secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "make-secrets.sh")
	if err := os.WriteFile(path, script, 0o700); err != nil {
		t.Fatal(err)
	}
	var first map[string]string
	for range 2 {
		if out, err := exec.Command(sh, path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		made := tree(t, filepath.Join(dir, "secrets"))
		if first == nil {
			first = made
		}
		if diff := cmp.Diff(first, made); diff != "" || len(made) != 7 {
			t.Errorf("%d secrets: %s", len(made), diff)
		}
	}
	for _, name := range []string{"console", "healthcheck", "grafana"} {
		token := first["kemi_"+name]
		if len(token) != 48 || !strings.Contains(first["kemi_tokens"], name+" "+token+"\n") {
			t.Errorf("kemi does not take the token of %s", name)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into secrets/: %v %v", info, err)
	}
}
