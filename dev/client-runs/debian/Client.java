// Java's java.net.http, over HTTP/1.1 or h2; the argument selects the protocol.
import java.io.*;
import java.net.URI;
import java.net.http.*;
import java.util.*;
import java.util.stream.Collectors;

class Client {
    public static void main(String[] arguments) throws Exception {
        var h2 = arguments[0].equals("h2");
        var version = h2 ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        var client = HttpClient.newBuilder().version(version).build();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            var asked = line.split(" ");
            var request = HttpRequest.newBuilder(URI.create(text(asked[1])));
            for (var field : text(asked[2]).split("\n")) {
                var pair = field.split(": ", 2);
                request.header(pair[0], pair[1]);
            }
            var body = asked[3].equals("-")
                ? HttpRequest.BodyPublishers.noBody()
                : HttpRequest.BodyPublishers.ofByteArray(Base64.getDecoder().decode(asked[3]));
            request.method(text(asked[0]), body);
            var answer = client.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            if (answer.version() != version) throw new IOException("it is " + answer.version());
            var heads = answer.headers().map().entrySet().stream()
                .map(it -> it.getKey() + ": " + it.getValue().get(0))
                .collect(Collectors.joining("\n"));
            var texts = encoded(heads.getBytes()) + " " + encoded(answer.body());
            System.out.println(answer.statusCode() + " " + texts);
        }
    }

    static String text(String encoded) {
        return new String(Base64.getDecoder().decode(encoded));
    }

    static String encoded(byte[] text) {
        return text.length == 0 ? "-" : Base64.getEncoder().encodeToString(text);
    }
}
