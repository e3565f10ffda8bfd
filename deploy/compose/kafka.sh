#!/bin/bash
# The broker of Compose: settings of four files, users made with the storage at the first start, then Kafka's own start.
set -euo pipefail
umask 077
settings=/tmp/server.properties
cat /waybill/broker.properties /waybill/secured.properties /waybill/kafka.properties /run/waybill/login.properties > "$settings"
# In a file, since passwords on a command line can be read by others.
{
    printf '%s\n' "--cluster-id=$CLUSTER_ID" --ignore-formatted -c "$settings"
    cat /run/waybill/users
} > /tmp/format.arguments
# It says what it has written, salted passwords among it.
/opt/kafka/bin/kafka-storage.sh format @/tmp/format.arguments > /dev/null
rm /tmp/format.arguments
exec /opt/kafka/bin/kafka-server-start.sh "$settings"
