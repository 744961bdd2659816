"""The chart (helm/weir) rendered: five services, each with its command, ports, probes and volume, and a configuration
that the programs accept.

usage: chart_test.py BUILD_FOLDER REPOSITORY

Needs Go and its yaml.v3, which are in the base system; exit 77 (skipped) without.
"""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

BUILD, REPOSITORY = (os.path.abspath(sys.argv.pop(1)) for _ in range(2))
CHART = os.path.join(REPOSITORY, "helm", "weir")
PACKAGES = "/usr/share/gocode"
SERVICES = ("gateway", "ingest", "embedder", "indexer", "reconciler")
WORK = tempfile.TemporaryDirectory(prefix="weir-chart-")


def build():
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": PACKAGES, "GOFLAGS": "-buildvcs=false",
                   "GOCACHE": os.path.join(BUILD, "tests", "go", "cache"), "CGO_ENABLED": "0"}
    program = os.path.join(WORK.name, "render")
    source = os.path.join(REPOSITORY, "tests", "helm", "render.go")
    subprocess.run(["go", "build", "-o", program, source], env=environment, check=True, timeout=800)
    return program


def named(objects):
    return {it["name"]: it for it in objects}


class ChartTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.program = build()
        with open(os.path.join(CHART, "values.yaml"), encoding="utf-8") as stream:
            cls.values = yaml.safe_load(stream)
        cls.rendered = cls.render(cls.values)
        cls.pod = cls.rendered["StatefulSet", "weir"]["spec"]["template"]
        cls.containers = named(cls.pod["spec"]["containers"])

    @classmethod
    def render(cls, values, release="weir"):
        path = os.path.join(WORK.name, "values.yaml")
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(values, stream)
        done = subprocess.run([cls.program, CHART, release, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return {(it["kind"], it["metadata"]["name"]): it for it in yaml.safe_load_all(done.stdout) if it}

    def settings(self):
        """Of the chart's configuration, as the programs have it: the port base, and that all of it is known."""
        config = self.rendered["ConfigMap", "weir"]["data"]["weir.yaml"]
        path = os.path.join(WORK.name, "weir.yaml")
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(config)
        done = subprocess.run([os.path.join(BUILD, "bin", "weir"), "config", "print", "--config", path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return yaml.safe_load(done.stdout)

    def test_five_services_run_their_programs_with_the_configuration(self):
        self.assertEqual(tuple(self.containers), SERVICES)
        for name, container in self.containers.items():
            self.assertEqual(container["command"], [f"weir-{name}", "--config", "/etc/weir/weir.yaml"])
            self.assertTrue(os.access(os.path.join(BUILD, "bin", container["command"][0]), os.X_OK))
            self.assertEqual(named(container["env"])["WEIR_DATA"]["value"], "/var/lib/weir")
            self.assertEqual(named(container["volumeMounts"])["config"]["mountPath"], "/etc/weir")
            self.assertEqual(container["resources"], self.values["services"][name]["resources"])
        volume = named(self.pod["spec"]["volumes"])["config"]
        self.assertIn(("ConfigMap", volume["configMap"]["name"]), self.rendered)
        settings = self.settings()
        for key, value in self.values["config"].items():
            self.assertEqual(settings[key], value)

    def test_ports_are_those_of_the_programs_and_services_lead_to_them(self):
        base = self.settings()["port_base"]
        ports = {}
        for number, (name, container) in enumerate(self.containers.items()):
            own = {port["name"]: port["containerPort"] for port in container["ports"]}
            expected = {f"grpc-{name}": base + 70 + number, f"adm-{name}": base + 90 + number}
            self.assertEqual(own, {**expected, "http": base + 80} if name == "gateway" else expected)
            ports.update(own)
        for name in ports:
            self.assertLessEqual(len(name), 15)  # Kubernetes takes no longer one
        labels = self.pod["metadata"]["labels"]
        reached = {"weir": {}, "weir-pod": {}}
        for name, found in reached.items():
            spec = self.rendered["Service", name]["spec"]
            self.assertLessEqual(spec["selector"].items(), labels.items())
            found.update({port["targetPort"]: port["port"] for port in spec["ports"]})
        self.assertEqual(reached["weir"], {"grpc-gateway": base + 70, "http": base + 80})
        self.assertEqual(reached["weir-pod"], {name: port for name, port in ports.items() if name != "http"})
        self.assertEqual(self.rendered["StatefulSet", "weir"]["spec"]["serviceName"], "weir-pod")
        for rule in self.rendered["NetworkPolicy", "weir"]["spec"]["ingress"]:
            self.assertLessEqual({port["port"] for port in rule["ports"]}, set(ports))

    def test_probes_ask_each_service_on_its_own_admin_port(self):
        for name, container in self.containers.items():
            for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
                found = container[f"{probe}Probe"]
                self.assertEqual(found["httpGet"], {"path": path, "port": f"adm-{name}"})
                self.assertLessEqual(self.values["probes"][probe].items(), found.items())

    def test_each_service_has_a_volume_and_mounts_no_other(self):
        claims = self.rendered["StatefulSet", "weir"]["spec"]["volumeClaimTemplates"]
        sizes = {it["metadata"]["name"]: it["spec"]["resources"]["requests"]["storage"] for it in claims}
        self.assertEqual(sizes, {name: self.values["services"][name]["storage"] for name in SERVICES})
        for name, container in self.containers.items():
            mounts = named(container["volumeMounts"])
            self.assertEqual(mounts[name]["mountPath"], f"/var/lib/weir/{name}")
            self.assertEqual(set(mounts) & set(SERVICES), {name})
        retention = self.rendered["StatefulSet", "weir"]["spec"]["persistentVolumeClaimRetentionPolicy"]
        self.assertEqual(set(retention.values()), {"Retain"})

    def test_a_changed_configuration_is_a_new_pod_and_a_release_has_its_own_names(self):
        values = copy.deepcopy(self.values)
        values["config"]["log"] = {"level": "debug"}
        values["storageClassName"] = "fast"
        values["networkPolicy"]["enabled"] = False
        rendered = self.render(values, "docs")
        changed = rendered["StatefulSet", "docs-weir"]["spec"]
        self.assertNotEqual(changed["template"]["metadata"]["annotations"]["weir/config-sha256"],
                            self.pod["metadata"]["annotations"]["weir/config-sha256"])
        self.assertEqual({it["spec"]["storageClassName"] for it in changed["volumeClaimTemplates"]}, {"fast"})
        self.assertIn("level: debug", rendered["ConfigMap", "docs-weir"]["data"]["weir.yaml"])
        self.assertNotIn(("NetworkPolicy", "docs-weir"), rendered)


if __name__ == "__main__":
    if not shutil.which("go") or not os.path.isdir(f"{PACKAGES}/src/gopkg.in/yaml.v3"):
        print("skipped: no Go with yaml.v3")
        sys.exit(77)
    unittest.addModuleCleanup(WORK.cleanup)
    unittest.main(verbosity=2)
