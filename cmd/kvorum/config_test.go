// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/quick"
	"time"

	"github.com/spf13/pflag"
)

func TestSizes(t *testing.T) {
	for _, row := range []struct {
		text string
		want size
	}{
		{"0", 0},
		{"1", 1},
		{"4096", 4096},
		{"12b", 12},
		{"1k", 1 << 10},
		{"1KB", 1 << 10},
		{"1KiB", 1 << 10},
		{"3m", 3 << 20},
		{"64MiB", 64 << 20},
		{" 64 mib ", 64 << 20},
		{"1gb", 1 << 30},
		{"2GiB", 2 << 30},
		{"007", 7},
		{"4611686018427387904", 1 << 62},
		{"4294967296GiB", 1 << 62},
	} {
		var s size
		if err := s.Set(row.text); err != nil || s != row.want {
			t.Errorf("%q: %d, %v; want %d", row.text, s, err, row.want)
		}
	}
	for _, text := range []string{
		"", " ", "k", "MiB", "-1", "+1", "1.5GiB", "1e3", "0x10", "1_000", "1tib", "1kk", "1 k b", "k1", "1bk", "١",
		"4611686018427387905", "4294967297GiB", "18446744073709551616", "1MiB1", "1Mi\x00B",
	} {
		s := size(42)
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %d", text, s)
		} else if s != 42 {
			t.Errorf("%q was refused and still changed the value to %d", text, s)
		}
	}
}

// TestSizesRoundTrip: what is printed can be given back.
func TestSizesRoundTrip(t *testing.T) {
	check := func(n uint64, shift uint8) bool {
		n = n >> 2 >> (shift % 60) << (shift % 31) & (1<<62 - 1)
		want, got := size(n), size(0)
		return got.Set(want.String()) == nil && got == want
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// sample is a valid value of every option that differs from its default.
func sample() map[string]string {
	return map[string]string{
		"data": "elsewhere", "name": "n", "zone": "z", "bind": "127.0.0.2", "advertise": "host.example", "port": "7500",
		"peer-addr": "127.0.0.1:1", "http-addr": "127.0.0.1:2", "native-addr": "off", "resp-addr": "127.0.0.1:3", "insecure": "true", "init": "true",
		"join": "127.0.0.1:7400", "if-new": "true", "groups": "5", "replicas": "5", "maxmemory": "1MiB",
		"maxmemory-policy": "allkeys-lru", "max-key": "1KiB", "max-value": "2KiB", "max-connections": "7", "log-store": "bolt",
		"segment-size": "1MiB", "log-tail": "2MiB", "snapshot-log": "3MiB", "snapshot-rate": "4MiB", "disk-reserve": "0", "heartbeat": "300ms", "timeout": "3s",
		"log-level": "debug", "log-format": "json", "redis-redirect": "true", "debug-commands": "true",
	}
}

// parse is the command line of serve with an environment, up to the effective configuration.
func parse(args []string, env map[string]string) (*config, error) {
	c := defaults()
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	bindConfig(&c, f)
	if err := f.Parse(args); err != nil {
		return &c, err
	}
	return &c, resolve(&c, f, func(name string) string { return env[name] })
}

// values reads every option back.
func values(c *config) map[string]string {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	out := map[string]string{}
	for _, o := range options() {
		o.bind(c, f, o.name, o.help)
		out[o.name] = f.Lookup(o.name).Value.String()
	}
	return out
}

// TestEveryOption: each row of the table works as a flag, as a variable and as a line of the file.
func TestEveryOption(t *testing.T) {
	samples := sample()
	before := defaults()
	byDefault := values(&before)
	for _, o := range options() {
		value, ok := samples[o.name]
		if !ok {
			t.Errorf("%s: no sample", o.name)
			continue
		}
		if byDefault[o.name] == value {
			t.Errorf("%s: the sample is the default", o.name)
		}
		file := writeConfig(t, o.name+": "+value)
		for source, get := range map[string]func() (*config, error){
			"flag":        func() (*config, error) { return parse([]string{"--" + o.name + "=" + value}, nil) },
			"environment": func() (*config, error) { return parse(nil, map[string]string{envName(o.name): value}) },
			"file":        func() (*config, error) { return parse([]string{"--config", file}, nil) },
			"named file":  func() (*config, error) { return parse(nil, map[string]string{"KVORUM_CONFIG": file}) },
		} {
			c, err := get()
			if err != nil {
				t.Errorf("%s by %s: %v", o.name, source, err)
				continue
			}
			if got := values(c)[o.name]; got != value {
				t.Errorf("%s by %s: %q, want %q", o.name, source, got, value)
			}
		}
	}
}

func writeConfig(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kvorum.conf")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrecedence(t *testing.T) {
	file := writeConfig(t, "# a comment", "", "groups: 7", "heartbeat: '700ms'", `name: "in the file"`, "zone: file", "log-level: debug")
	c, err := parse(
		[]string{"--config", file, "--groups", "5", "--insecure=false"},
		map[string]string{"KVORUM_GROUPS": "6", "KVORUM_HEARTBEAT": "600ms", "KVORUM_INSECURE": "true", "KVORUM_ZONE": ""},
	)
	if err != nil {
		t.Fatal(err)
	}
	if c.Groups != 5 || c.Insecure {
		t.Errorf("a flag is stronger than the rest: groups %d, insecure %t", c.Groups, c.Insecure)
	}
	if c.Heartbeat != 600*time.Millisecond {
		t.Errorf("the environment is stronger than the file: heartbeat %v", c.Heartbeat)
	}
	if c.Name != "in the file" || c.LogLevel != "debug" || c.Zone != "file" {
		t.Errorf("the file is stronger than the defaults, and an empty variable is none: %q %q %q", c.Name, c.LogLevel, c.Zone)
	}
	if c.Replicas != 3 {
		t.Errorf("a default: replicas %d", c.Replicas)
	}
}

// TestFaultsTogether: every wrong value is named by its flag, wherever it came from, in one error.
func TestFaultsTogether(t *testing.T) {
	file := writeConfig(t, "replicas: 4", "max-value: huge")
	_, err := parse([]string{
		"--config", file, "--data=", "--port=0", "--groups=2000", "--init", "--join=a:1", "--log-store=tape", "--max-key=65KiB",
		"--maxmemory-policy=whim", "--max-connections=0", "--segment-size=2GiB", "--log-tail=0", "--snapshot-log=0", "--timeout=-1s",
		"--log-level=loud", "--log-format=xml", "--bind=0.0.0.0", "--peer-addr=off", "--http-addr=nonsense", "--native-addr=127.0.0.1:http",
	}, map[string]string{"KVORUM_HEARTBEAT": "1ms", "KVORUM_DISK_RESERVE": "-1"})
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{
		"--data", "--port", "--groups", "--init", "--join", "--log-store", "--max-key", "--maxmemory-policy", "--max-connections",
		"--segment-size", "--log-tail", "--snapshot-log", "--timeout", "--log-level", "--log-format", "--peer-addr", "--http-addr", "--native-addr",
		"--heartbeat", "--replicas", "max-value in " + file, "disk-reserve in $KVORUM_DISK_RESERVE",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s:\n%v", want, err)
		}
	}
}

func TestConfigFileFaults(t *testing.T) {
	for _, row := range []struct{ line, want string }{
		{"bogus: 1", ":2: "}, {"groups 3", ":2: "}, {"config: other", ":2: "}, {"groups: three", "groups in "}, {"=", ":2: "},
	} {
		_, err := parse([]string{"--config", writeConfig(t, "zone: z", row.line)}, nil)
		if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), "kvorum.conf") {
			t.Errorf("%q: %v", row.line, err)
		}
	}
	if _, err := parse([]string{"--config", filepath.Join(t.TempDir(), "absent")}, nil); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("an absent file: %v", err)
	}
}

// TestExposure: nothing listens beyond loopback unless the operator said that this is meant.
func TestExposure(t *testing.T) {
	for _, row := range []struct {
		args    []string
		refused string
	}{
		{nil, ""},
		{[]string{"--bind=localhost"}, ""},
		{[]string{"--bind=::1"}, ""},
		{[]string{"--bind=127.8.9.10"}, ""},
		{[]string{"--bind=0.0.0.0"}, "--bind: 0.0.0.0:7400, 0.0.0.0:7401, 0.0.0.0:7402, 0.0.0.0:7403"},
		{[]string{"--bind="}, "--bind: :7400"},
		{[]string{"--bind=::"}, "--bind: [::]:7400"},
		{[]string{"--bind=10.0.0.1"}, "--bind: 10.0.0.1:7400"},
		{[]string{"--bind=some.host"}, "--bind: some.host:7400"},
		{[]string{"--bind=127.0.0.1.example"}, "--bind: "},
		{[]string{"--http-addr=:8080"}, "--http-addr: :8080"},
		{[]string{"--native-addr=192.168.0.1:1"}, "--native-addr: 192.168.0.1:1"},
		{[]string{"--peer-addr=[2001:db8::1]:1"}, "--peer-addr: [2001:db8::1]:1"},
		{[]string{"--bind=0.0.0.0", "--insecure"}, ""},
		{[]string{"--http-addr=off", "--native-addr=off"}, ""},
		{[]string{"--http-addr=127.0.0.1:65536"}, "--http-addr"},
		{[]string{"--http-addr=127.0.0.1"}, "--http-addr"},
	} {
		_, err := parse(row.args, nil)
		switch {
		case row.refused == "" && err != nil:
			t.Errorf("%v: %v", row.args, err)
		case row.refused != "" && (err == nil || !strings.Contains(err.Error(), row.refused)):
			t.Errorf("%v: %v, want an error with %q", row.args, err, row.refused)
		}
	}
}

func TestDevFaults(t *testing.T) {
	good := devConfig{nodes: 3, data: "d", port: 7400, groups: 4}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	bad := devConfig{nodes: 10, port: 65530}
	err := bad.validate()
	if err == nil {
		t.Fatal("a configuration without sense was taken")
	}
	for _, want := range []string{"--nodes", "--data", "--port", "--groups"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

// TestMaxMemoryHelp: the help says what the limit counts: the shards take it for one copy of the
// cluster's data.
func TestMaxMemoryHelp(t *testing.T) {
	for _, o := range options() {
		if o.name == "maxmemory" && (!strings.Contains(o.help, "whole cluster") || !strings.Contains(o.help, "one copy") || strings.Contains(o.help, "each node")) {
			t.Errorf("--maxmemory: %s", o.help)
		}
	}
}
