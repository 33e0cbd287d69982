package dashboards

import (
	"fmt"
	"net/url"
	"strings"

	"kemi.dev/kemi/internal/conf"
)

// What Config and the files have unless something else is given.
const (
	DefaultFolder  = "Kemi"
	DefaultKemiURL = "http://127.0.0.1:7070"
)

// The settings of the data source. The interval is what Grafana takes for the time between two samples: it makes
// $__rate_interval at least four times as long, two minutes, so that targets polled every 60 s have a rate too.
const (
	timeInterval = "30s"
	httpMethod   = "POST"
)

// Config is the part `grafana:` of the configuration: where to push dashboards.
type Config struct {
	// URL of Grafana, with the path if it is served below one.
	URL string `yaml:"url"`
	// Token of a service account (Admin, for the data source). User and Password are used when there is none.
	Token    conf.Secret `yaml:"token"`
	User     string      `yaml:"user"`
	Password conf.Secret `yaml:"password"`
	// Folder of the dashboards; it is made when it is not there. Empty is Grafana's top folder.
	Folder string `yaml:"folder"`
	// KemiURL is how Grafana reaches Kemi, KemiToken what it says there when Kemi has auth.
	KemiURL   string      `yaml:"kemi_url"`
	KemiToken conf.Secret `yaml:"kemi_token"`
}

// Default returns the configuration of a Grafana beside Kemi, without a token.
func Default() Config {
	return Config{URL: "http://127.0.0.1:3000", Folder: DefaultFolder, KemiURL: DefaultKemiURL}
}

// SetDefaults implements conf.Defaulter.
func (c *Config) SetDefaults() { *c = Default() }

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	for field, value := range map[string]string{"url": c.URL, "kemi_url": c.KemiURL} {
		if err := checkURL(value); err != nil {
			all = append(all, conf.Complaint{Field: field, What: fmt.Sprintf("%s %v", field, err), Do: `write it like "http://127.0.0.1:3000"`})
		}
	}
	if !c.Token.IsZero() && (c.User != "" || !c.Password.IsZero()) {
		all = append(all, conf.Complaint{Field: "user", What: "a token and a user are given", Do: "leave one of them out"})
	}
	if (c.User == "") != c.Password.IsZero() {
		all = append(all, conf.Complaint{Field: "user", What: "user and password go together", Do: "give both, or a token"})
	}
	return all
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return fmt.Errorf("is no address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("is %q, which is no http address", text)
	case u.User != nil:
		return fmt.Errorf("has a user in it: give user and password, or a token, as keys of their own")
	case u.RawQuery != "" || u.Fragment != "" || strings.Contains(text, "?"):
		return fmt.Errorf("is %q: nothing may follow the path", text)
	}
	return nil
}
