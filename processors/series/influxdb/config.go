// Package influxdb writes readings to an InfluxDB by its v2 write API: InfluxDB 2, and 1.8 or 3 by their compatibility
// with it, and others that speak it (VictoriaMetrics).
//
// In: Readings. Out: line protocol: a measurement for each table, its columns as fields, the labels as tags; and the
// measurement kemi_poll with what became of each poll.
// It promises that what it acknowledged the server had accepted, that a server that is down, slow or strict costs
// nothing but time, and that the token shows up nowhere.
// It never decides to drop a reading: what the server refuses for good is marked as poison.
package influxdb

import (
	"net/url"
	"regexp"
	"time"

	"kemi.dev/kemi/internal/conf"
)

// Config is what kemi.yaml says under `influxdb`.
type Config struct {
	Name string `yaml:"name"`
	// URL of the server, without the path of the API.
	URL    string `yaml:"url"`
	Org    string `yaml:"org"`
	Bucket string `yaml:"bucket"`
	// Token may write to the bucket. For InfluxDB 1.8 it is "user:password", Org empty and Bucket "database/policy".
	Token conf.Secret `yaml:"token"`
	// Timeout of one request.
	Timeout time.Duration `yaml:"timeout"`
	// Lines bounds a request.
	Lines int `yaml:"lines"`
	// Gzip compresses requests.
	Gzip bool `yaml:"gzip"`
}

// Default returns the settings of a sink of which only the server is said.
func Default() Config {
	return Config{Name: "influxdb", Timeout: 30 * time.Second, Lines: 5000, Gzip: true}
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// Validate implements conf.Validator.
func (c *Config) Validate() []conf.Complaint {
	var all []conf.Complaint
	complain := func(field, what, do string) {
		all = append(all, conf.Complaint{Field: field, What: what, Do: do})
	}
	if u, err := url.Parse(c.URL); c.URL == "" || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		complain("url", "url is not the address of a server", `give one such as "http://127.0.0.1:8086"`)
	} else if u.User != nil {
		complain("url", "url holds a password", "give it as token or token_file")
	}
	if c.Bucket == "" {
		complain("bucket", "bucket is missing", "name the bucket to write to")
	}
	if !nameForm.MatchString(c.Name) {
		complain("name", "name is not made of a-z, 0-9, - and _", "give a short name: the position on the bus is kept under it")
	}
	if c.Timeout < time.Second {
		complain("timeout", "timeout is too small", "give at least 1s")
	}
	if c.Lines < 1 {
		complain("lines", "lines is too small", "give at least 1")
	}
	return all
}
