#!/usr/bin/env bash
# Fetches Kafka's own jars from Maven Central, for the tests that let Kafka read what Highwater
# wrote. Needs java and mvn. Prints the directory of the jars: HIGHWATER_KAFKA_LIB, or
# target/kafka-lib of this checkout, where the tests look by themselves.
set -euo pipefail
kafka_version=4.2.0
log4j_version=2.24.3
root=$(cd "$(dirname "$0")/../.." && pwd)
lib=${HIGHWATER_KAFKA_LIB:-$root/target/kafka-lib}

if [ -e "$lib/kafka-clients-$kafka_version.jar" ]; then
  echo "$lib"
  exit 0
fi
if [ -e "$lib" ]; then
  echo "$lib exists, but without Kafka $kafka_version: remove it first" >&2
  exit 1
fi
for tool in java mvn; do
  command -v "$tool" > /dev/null || { echo "$tool is not installed" >&2; exit 1; }
done

mkdir -p "$(dirname "$lib")"
work=$(mktemp -d "$lib.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>highwater</groupId>
  <artifactId>kafka-lib</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$kafka_version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>$log4j_version</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>$log4j_version</version></dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/lib" >&2
mv "$work/lib" "$lib"
echo "$lib"
