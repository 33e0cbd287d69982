package dashboards_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/dashboards"
	"kemi.dev/kemi/internal/conf"
)

func fakeConfig(url string) dashboards.Config {
	c := dashboards.Default()
	c.URL, c.Token = url, conf.NewSecret(fakeToken)
	return c
}

// actions says in short what became of what.
func actions(results []dashboards.Result) []string {
	var all []string
	for _, r := range results {
		all = append(all, fmt.Sprintf("%s %s %s", r.Kind, r.UID, r.Action))
	}
	return all
}

func allOf(action dashboards.Action) []string {
	a := string(action)
	return []string{
		"datasource kemi " + a, "folder kemi " + a, "dashboard kemi-fleet " + a, "dashboard kemi-host " + a, "dashboard kemi-network-device " + a,
	}
}

func TestASecondPushChangesNothing(t *testing.T) {
	f, url := newFake(t)
	for _, want := range []dashboards.Action{dashboards.Created, dashboards.Unchanged} {
		f.writes = nil
		results, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t), dashboards.PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(allOf(want), actions(results)); diff != "" {
			t.Error(diff)
		}
		if want == dashboards.Unchanged && f.writes != nil {
			t.Errorf("an unchanged push wrote %v", f.writes)
		}
	}
}

func TestWhatAPersonChangedIsKeptUnlessOverwriteIsAskedFor(t *testing.T) {
	for _, paged := range []bool{false, true} {
		f, url := newFake(t)
		f.paged = paged
		push := func(opts dashboards.PushOptions) ([]string, error) {
			results, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t), opts)
			return actions(results), err
		}
		if _, err := push(dashboards.PushOptions{}); err != nil {
			t.Fatal(err)
		}
		f.edit("kemi-fleet")
		got, err := push(dashboards.PushOptions{})
		if !errors.Is(err, dashboards.ErrKept) || !strings.Contains(err.Error(), "kemi-fleet") {
			t.Errorf("err %v", err)
		}
		want := allOf(dashboards.Unchanged)
		want[2] = "dashboard kemi-fleet kept"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if f.dashboards["kemi-fleet"]["title"] != "mine" {
			t.Error("the person's change is gone")
		}
		want[2] = "dashboard kemi-fleet updated"
		got, err = push(dashboards.PushOptions{Overwrite: true})
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	}
}

func TestOlderPushesAreReplaced(t *testing.T) {
	f, url := newFake(t)
	if _, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t), dashboards.PushOptions{}); err != nil {
		t.Fatal(err)
	}
	f.dashboards["kemi-fleet"]["title"] = "of an older Kemi"
	results, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t), dashboards.PushOptions{})
	if err != nil || results[2].Action != dashboards.Updated || f.dashboards["kemi-fleet"]["title"] != "Kemi: fleet" {
		t.Error(err, actions(results))
	}
}

func TestTheDataSourceFollowsTheConfigurationAndKeepsSettingsOfPeople(t *testing.T) {
	f, url := newFake(t)
	c := fakeConfig(url)
	push := func() dashboards.Action {
		results, err := dashboards.Push(t.Context(), c, nil, dashboards.PushOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return results[0].Action
	}
	if got := push(); got != dashboards.Created {
		t.Error(got)
	}
	f.source["jsonData"].(map[string]any)["timeInterval"] = "5s"
	if got := push(); got != dashboards.Unchanged {
		t.Error(got)
	}
	c.KemiURL, c.KemiToken = "http://kemi.example:7070/", conf.NewSecret("0123456789abcdef")
	for _, want := range []dashboards.Action{dashboards.Updated, dashboards.Unchanged} {
		if got := push(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	json := f.source["jsonData"].(map[string]any)
	if f.source["url"] != "http://kemi.example:7070" || json["timeInterval"] != "5s" || json["httpHeaderName1"] != "Authorization" ||
		f.secrets["httpHeaderValue1"] != "Bearer 0123456789abcdef" {
		t.Errorf("%v %v", f.source, f.secrets)
	}
	c.KemiToken = conf.Secret{}
	for _, want := range []dashboards.Action{dashboards.Updated, dashboards.Unchanged} {
		if got := push(); got != want {
			t.Errorf("without a token: got %s, want %s", got, want)
		}
	}
}

func TestAFolderOfTheSameTitleIsUsed(t *testing.T) {
	f, url := newFake(t)
	f.folders["abc"] = "Kemi"
	results, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t)[:1], dashboards.PushOptions{})
	if err != nil || results[1].UID != "abc" || f.inFolder["kemi-fleet"] != "abc" {
		t.Error(err, results, f.inFolder)
	}
}

func TestPushSaysWhatIsWrong(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://sso.example/login", http.StatusFound)
	}))
	t.Cleanup(elsewhere.Close)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>a shop</html>"))
	}))
	t.Cleanup(page.Close)
	for name, c := range map[string]struct {
		url    string
		token  string
		refuse map[string]int
		want   []string
	}{
		"unreachable":  {url: "http://127.0.0.1:1", want: []string{"reach grafana at http://127.0.0.1:1", "connection refused", "is it running"}},
		"no grafana":   {url: page.URL, want: []string{"not Grafana", "correct its url"}},
		"redirect":     {url: elsewhere.URL, want: []string{"sends on to https://sso.example/login"}},
		"wrong path":   {refuse: map[string]int{"GET /api/health": 404}, want: []string{"404", "correct grafana's url"}},
		"bad address":  {url: "grafana:3000", want: []string{"no http address"}},
		"wrong token":  {token: "glsa_wrong", want: []string{"look for the data source", "401", "token_file"}},
		"no rights":    {refuse: map[string]int{"POST /api/datasources": 403}, want: []string{"make the data source", "403", "Admin"}},
		"no folder":    {refuse: map[string]int{"POST /api/folders": 403}, want: []string{`make the folder "Kemi", which is not there`, "403"}},
		"folder fails": {refuse: map[string]int{"GET /api/folders/kemi": 500}, want: []string{"look for folder kemi", "500"}},
		"save fails":   {refuse: map[string]int{"POST /api/dashboards/db": 400}, want: []string{"save dashboard kemi-fleet", "400", "no Bad Request"}},
		"hangs up":     {refuse: map[string]int{"POST /api/dashboards/db": 0}, want: []string{"save dashboard kemi-fleet", "EOF"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, url := newFake(t)
			f.refuse = c.refuse
			config := fakeConfig(url)
			if c.url != "" {
				config.URL = c.url
			}
			if c.token != "" {
				config.Token = conf.NewSecret(c.token)
			}
			_, err := dashboards.Push(t.Context(), config, generate(t)[:1], dashboards.PushOptions{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "glsa_") {
				t.Errorf("the token is in: %v", err)
			}
		})
	}
}

func TestOneRefusedDashboardDoesNotStopTheOthers(t *testing.T) {
	f, url := newFake(t)
	f.refuse["GET /api/dashboards/uid/kemi-fleet"] = 500
	results, err := dashboards.Push(t.Context(), fakeConfig(url), generate(t), dashboards.PushOptions{})
	want := allOf(dashboards.Created)
	want[2] = "dashboard kemi-fleet failed"
	var status *dashboards.StatusError
	if diff := cmp.Diff(want, actions(results)); diff != "" || !errors.As(err, &status) || status.Status != 500 {
		t.Error(err, diff)
	}
}

func TestTheConfigurationIsJudged(t *testing.T) {
	t.Setenv("GRAFANA_TOKEN", "glsa_secret")
	for text, want := range map[string]string{
		"{url: 'http://g:3000/grafana', token: '${GRAFANA_TOKEN}', folder: Kemi}": "",
		"{url: 'g:3000'}":                    "no http address",
		"{url: 'http://admin:pw@g:3000'}":    "has a user in it",
		"{kemi_url: 'http://k:7070/?a=b'}":   "nothing may follow the path",
		"{user: admin}":                      "user and password go together",
		"{token: abc, user: a, password: b}": "a token and a user are given",
		"{foldr: x}":                         `did you mean "folder"?`,
	} {
		nodes, problems := conf.Parse("kemi.yaml", []byte(text))
		c := dashboards.Default()
		err := append(problems, nodes[0].Into(&c)...).Err()
		if want == "" && (err != nil || c.Token.Reveal() != "glsa_secret" || c.KemiURL != dashboards.DefaultKemiURL) {
			t.Errorf("%s: %v %+v", text, err, c)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
